"""Citations: what is cited, of which law, and whether it exists on a date."""

import time
import unicodedata
from datetime import date

import pytest

from kalign import files, packs
from kalign.grounding import verify
from kalign.grounding.verify import Grounding, Status
from tests.grounding.vectors import VECTORS

DAY = date(2026, 11, 22)


@pytest.fixture(scope="module")
def grounding() -> Grounding:
    return verify.load(packs.folder("ko"), packs.load("ko").institutions.values())


def statuses(grounding: Grounding, text: str, day: date = DAY) -> list[str]:
    return [citation.status.value for citation in grounding.citations(text, day)]


@pytest.mark.parametrize(("text", "expected"), VECTORS, ids=[text for text, _ in VECTORS])
def test_every_tricky_sentence_is_read_right(grounding: Grounding, text: str, expected: list[str]) -> None:
    assert statuses(grounding, text) == expected
    assert statuses(grounding, unicodedata.normalize("NFD", text)) == expected


def test_there_are_enough_tricky_sentences_and_every_status_is_among_them() -> None:
    assert len(VECTORS) >= 60
    reached = {status for _, expected in VECTORS for status in expected}
    needs_another_day = {Status.TABLE_TOO_OLD, Status.NOT_YET_INSTITUTION}
    assert reached == {status.value for status in Status} - {status.value for status in needs_another_day}


def test_what_is_cited_is_named_and_not_only_counted(grounding: Grounding) -> None:
    [first, second] = grounding.citations("정보통신망법 제70조 및 같은 법 제44조의7", DAY)
    law = "정보통신망 이용촉진 및 정보보호 등에 관한 법률"
    assert (first.law, first.article, first.branch) == (law, 70, 0)
    assert (second.law, second.article, second.branch) == (law, 44, 7)
    assert second.text == "같은 법 제44조의7"
    [hotline] = grounding.citations("1393에 전화하세요", DAY)
    assert "it is 109" in hotline.detail


def test_dates_decide_which_offices_and_numbers_exist(grounding: Grounding) -> None:
    assert statuses(grounding, "검찰청에 고소", date(2026, 10, 1)) == ["verified"]
    assert statuses(grounding, "검찰청에 고소", date(2026, 10, 2)) == ["stale_institution"]
    assert statuses(grounding, "공소청에 고소", date(2026, 10, 1)) == ["not_yet_institution"]
    assert statuses(grounding, "1393에 전화", date(2023, 12, 31)) == ["verified"]


def test_a_table_that_is_too_old_says_so_instead_of_denying(grounding: Grounding) -> None:
    late = date(2027, 12, 1)
    assert statuses(grounding, "형법 제999조와 제307조", late) == ["table_too_old", "verified"]
    assert statuses(grounding, "AI안전기본법 제12조", late) == ["table_too_old"]


@pytest.mark.parametrize(
    "unit",
    [
        "제",
        "제1조",
        "법",
        "「",
        "(",
        "형법 ",
        "1",
        "1항",
        "「법",
        "형법 제307조",
        "112 ",
        " ",
        "법에 따라",
        "법(",
    ],
)
def test_hostile_texts_take_time_in_proportion_to_their_length(grounding: Grounding, unit: str) -> None:
    """Ten times the text may take ten times the time, with room for noise; a square would take a hundred."""

    def seconds(length: int) -> float:
        start = time.process_time()
        grounding.citations((unit * length)[:length], DAY)
        return time.process_time() - start

    seconds(1_000)
    assert seconds(200_000) < 30 * max(seconds(20_000), 0.02)


def test_every_citation_of_every_good_answer_and_every_policy_exists(grounding: Grounding) -> None:
    for _, row in files.read_jsonl(packs.pairs("ko")):
        wrong = [c.text for c in grounding.citations(row["chosen"], DAY) if not c.status.exists]
        assert wrong == [], row["id"]


def test_every_law_that_a_rejected_answer_invents_is_noticed(grounding: Grounding) -> None:
    invented = [row for _, row in files.read_jsonl(packs.pairs("ko")) if row["failure"] == "invented_law"]
    assert len(invented) > 50
    for row in invented:
        assert not all(c.status.exists for c in grounding.citations(row["rejected"], DAY)), row["id"]


def test_unconfirmed_and_abolished_offices_are_kept_but_never_offered(grounding: Grounding) -> None:
    offered = {office.name for office in grounding.institutions.rows if office.offered(DAY)}
    known = {office.name for office in grounding.institutions.rows}
    assert "검찰청" in known - offered
    assert "인권상담전화" in known - offered
    assert {"경찰청", "공소청"} <= offered
