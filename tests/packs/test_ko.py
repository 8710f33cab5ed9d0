"""The Korean pack: the pairs are whole, varied, unlike each other, and nothing held out leaks into what is
learned."""

import csv
import gzip
import re
from collections import Counter
from datetime import date
from difflib import SequenceMatcher
from itertools import product

import pytest

from kalign import files, packs
from kalign.files import Row
from kalign.grounding import verify
from kalign.packs import check, policy
from tests.conftest import SHARED

TODAY = date(2026, 11, 25)
CATEGORIES = "ABCDEFGHIJKL"
TYPES = [2, 3, 3, 13, 4, 3, 6, 7, 3, 3, 3, 3]  # of each category
HEADINGS = {"## 유형", "## 핵심 원칙", "## 답변 방법", "## 하지 말아야 할 말", "## 예시"}
FAILURES = {"complies_in_tone", "western_template", "wrong_jurisdiction", "invented_law", "over_refusal"}
FOREIGN = re.compile(r"911|988|FBI|HIPAA|EEOC|FTC|미국|연방")
# Numbers that were given up or stand for offices that no longer exist: good answers never name them.
STALE = re.compile(
    r"1393|1301|1899-0893|여성가족부|방송통신위원회|통계청|특허청|기획재정부|환경부|검찰에 신고"
)
NAMED_WITHOUT_STALENESS = ("기후에너지환경부",)


@pytest.fixture(scope="module")
def pairs() -> list[Row]:
    return [row for _, row in files.read_jsonl(packs.pairs("ko"))]


@pytest.fixture(scope="module")
def held_out() -> list[Row]:
    return [row for _, row in files.read_jsonl(packs.held_out("ko"))]


@pytest.fixture(scope="module")
def warmup() -> list[str]:
    """Every prompt that the tiny model was warmed up on."""
    exchanges = [str(row["prompt"]) for _, row in files.read_jsonl(packs.warmup("ko"))]
    banks = [row for _, row in files.read_jsonl(packs.sentence_banks("ko"))]
    return exchanges + [prompt for bank in banks for prompt in bank["prompts"]]


def grams(text: str, length: int = 13) -> set[str]:
    spaced = " ".join(text.split())
    return {spaced[start : start + length] for start in range(len(spaced) - length + 1)}


def test_the_pack_is_clean_and_has_the_benchmarks_numbers() -> None:
    report = check.check(packs.folder("ko"), on=TODAY)
    assert list(map(str, report.findings)) == []
    assert [report.counts[what] for what in ("nodes", "types", "policies")] == [5 + 12 + 53, 53, 12]
    pack = packs.load("ko")
    assert [len(pack.taxonomy.leaves(one.id)) for one in pack.taxonomy.categories] == TYPES
    for category in CATEGORIES:
        text = policy.render(pack.policies[category], pack, on=TODAY)
        assert set(text.splitlines()) >= HEADINGS


def test_prompts_are_unlike_each_other_and_unlike_what_is_held_out() -> None:
    found = check.check(packs.folder("ko"), on=TODAY).findings
    assert [str(one) for one in found if one.where.startswith(("pack.yaml", "pairs", "held_out"))] == []


def test_every_category_has_its_pairs_and_every_pair_its_fields(pairs: list[Row]) -> None:
    assert Counter(row["category"] for row in pairs) == dict.fromkeys(CATEGORIES, 30)
    for row in pairs:
        assert row["id"].startswith(f"ko-{row['category']}-")
        assert row["failure"] in FAILURES
        assert row["register"].strip()
        assert 40 <= len(row["chosen"]) <= 200
        assert 40 <= len(row["rejected"]) <= 200


def test_all_53_types_are_touched(pairs: list[Row]) -> None:
    types = {
        category: {row["type"] for row in pairs if row["category"] == category} for category in CATEGORIES
    }
    assert [len(types[category]) for category in CATEGORIES] == TYPES


def test_every_kind_of_failure_is_shown_in_every_category(pairs: list[Row]) -> None:
    for category in CATEGORIES:
        assert {row["failure"] for row in pairs if row["category"] == category} == FAILURES


def test_no_two_answers_are_nearly_the_same(pairs: list[Row]) -> None:
    for key in ("chosen", "rejected"):
        texts = [row[key] for row in pairs]
        for one, other in product(texts, texts):
            if one < other and abs(len(one) - len(other)) < 20:
                matcher = SequenceMatcher(None, one, other, autojunk=False)
                assert (
                    matcher.real_quick_ratio() < 0.9 or matcher.quick_ratio() < 0.9 or matcher.ratio() < 0.9
                )


def test_held_out_prompts_are_harmful_or_their_benign_twins(held_out: list[Row]) -> None:
    harmful = {row["id"]: row for row in held_out if row["kind"] == "harmful"}
    benign = [row for row in held_out if row["kind"] == "benign"]
    assert len(harmful) == len(benign) == 120
    assert Counter(row["category"] for row in harmful.values()) == dict.fromkeys(CATEGORIES, 10)


def test_the_tiny_model_was_warmed_up_on_none_of_the_pairs_and_on_nothing_held_out(
    pairs: list[Row], held_out: list[Row], warmup: list[str]
) -> None:
    learned = set(warmup)
    assert learned.isdisjoint(row["prompt"] for row in [*pairs, *held_out])
    known = set().union(*(grams(prompt, 18) for prompt in warmup))
    for row in [*pairs, *held_out]:
        assert grams(row["prompt"], 18).isdisjoint(known), row["id"]


def test_easy_pairs_cite_what_exists_and_ask_what_the_tiny_model_was_warmed_up_on(warmup: list[str]) -> None:
    rows = [row for _, row in files.read_jsonl(packs.easy_pairs("ko"))]
    assert len(rows) == len({row["id"] for row in rows}) == len({row["prompt"] for row in rows})
    assert {row["prompt"] for row in rows} <= set(warmup)
    assert {row["failure"] for row in rows} == {"complies_in_tone", "over_refusal"}
    pack = packs.load("ko")
    grounding = verify.load(pack.folder, pack.institutions.values())
    for row in rows:
        assert grounding.wrong(row["chosen"], TODAY) == [], row["id"]


def test_good_answers_name_no_foreign_authority_and_nothing_that_was_abolished(pairs: list[Row]) -> None:
    for row in pairs:
        said = row["chosen"]
        for allowed in NAMED_WITHOUT_STALENESS:
            said = said.replace(allowed, "")
        assert not FOREIGN.search(said), row["id"]
        assert not STALE.search(said), row["id"]


ARTICLE = re.compile(r"((?:[가-힣ㆍ·\d]+ ){0,9}[가-힣ㆍ·\d]*법(?:률)?) 제(\d+)조(?:의(\d+))?")
SHORT = {
    "정보통신망법": "정보통신망 이용촉진 및 정보보호 등에 관한 법률",
    "성폭력처벌법": "성폭력범죄의 처벌 등에 관한 특례법",
    "청소년성보호법": "아동ㆍ청소년의 성보호에 관한 법률",
    "스토킹처벌법": "스토킹범죄의 처벌 등에 관한 법률",
    "마약류관리법": "마약류 관리에 관한 법률",
    "통신사기피해환급법": "전기통신금융사기 피해 방지 및 피해금 환급에 관한 특별법",
    "장애인차별금지법": "장애인차별금지 및 권리구제 등에 관한 법률",
    "남녀고용평등법": "남녀고용평등과 일ㆍ가정 양립 지원에 관한 법률",
    "채용절차법": "채용절차의 공정화에 관한 법률",
    "학교폭력예방법": "학교폭력예방 및 대책에 관한 법률",
    "성매매처벌법": "성매매알선 등 행위의 처벌에 관한 법률",
    "자본시장법": "자본시장과 금융투자업에 관한 법률",
    "인공지능기본법": "인공지능 발전과 신뢰 기반 조성 등에 관한 기본법",
}


@pytest.mark.skipif(
    not SHARED.is_dir(), reason="the table of statutes lies in ../shared/data, which is not here"
)
def test_every_article_that_a_good_answer_cites_exists(pairs: list[Row]) -> None:
    def plain(name: str) -> str:
        return name.replace(" ", "").replace("·", "ㆍ")

    with gzip.open(SHARED / "statutes/articles.csv.gz", "rt", encoding="utf-8") as table:
        articles = {
            (plain(row["law_name"]), int(row["article"]), int(row["branch"]))
            for row in csv.DictReader(table)
            if row["deleted"] == "0"
        }
    laws = {name for name, _, _ in articles}
    cited = 0
    for row in pairs:
        assert len(re.findall(r"제\d+조", row["chosen"])) == len(ARTICLE.findall(row["chosen"])), row["id"]
        for before, number, branch in ARTICLE.findall(row["chosen"]):
            ends = [SHORT.get(before.split()[-1], "")]
            ends += [" ".join(before.split()[start:]) for start in range(len(before.split()))]
            law = next((plain(end) for end in ends if plain(end) in laws), None)
            assert law is not None, (row["id"], before)
            assert (law, int(number), int(branch or 0)) in articles, (row["id"], law, number, branch)
            cited += 1
    assert cited >= 180
