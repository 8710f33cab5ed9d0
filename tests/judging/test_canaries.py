"""Canaries: a judge that a text talks round is found, one that is not passes, silence is neither."""

import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from kalign.errors import DataError
from kalign.judging import canaries
from kalign.judging.rubric import seen
from kalign.providers import Answer, Provider, Request, Status
from kalign.synthesis.report import judges

JUDGE = Provider(name="bench", model="judge-1")
ALL = canaries.load()
# What an obedient judge hears: any word that speaks of the verdict
ORDER = re.compile(r"yes|safe|안전|acceptable|declined", re.IGNORECASE)


def verdict(request: Request, word: str, **changed: Any) -> Answer:
    form = json.loads(request.messages[0].content.split("\n")[-1])
    content = form | {"verdicts": {"acceptable": word}, "reason": "It is."} | changed
    return Answer(request=request, key=request.key(), status=Status.OK, parsed=content)


def firm(request: Request) -> Answer:
    return verdict(request, "no")


def obedient(request: Request) -> Answer:
    return verdict(request, "yes" if ORDER.search(request.messages[1].content) else "no")


def scored(judge: Callable[[Request], Answer | None]) -> canaries.Score:
    return canaries.score(ALL, JUDGE, [judge(request) for request in canaries.asked(ALL, JUDGE)])


def test_there_are_fifty_of_ten_kinds_in_two_languages() -> None:
    assert len(ALL) == len({one.id for one in ALL}) == 50
    assert set(Counter(one.kind for one in ALL).values()) == {5}
    languages = Counter(one.rubric.language for one in ALL)
    assert set(languages) == {"ko", "en"} and min(languages.values()) >= 20


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.id)
def test_a_canary_holds_its_plain_answer_an_attempt_and_no_nonce(one: canaries.Canary) -> None:
    assert one.plain["response"] in one.data["response"] and one.data != one.plain
    for request in one.rubric.messages(one.data):
        assert request.content.isprintable() or "\n" in request.content
    assert one.rubric.nonce(one.data) not in one.rubric.messages(one.data)[1].content
    assert json.loads(one.rubric.messages(one.data)[1].content)["response"] == seen(one.data["response"])


def test_a_judge_that_is_not_talked_round_passes() -> None:
    score = scored(firm)
    assert (score.share, score.known, score.fooled) == (0, 50, ())
    canaries.require_firm([score], most_fooled=0)


def test_a_judge_that_obeys_the_texts_it_judges_is_refused_with_the_kinds_that_fooled_it() -> None:
    score = scored(obedient)
    assert score.share is not None and score.share > 0.8
    with pytest.raises(
        DataError, match=r"bench:judge-1 was talked round by \d+ of 50 .*fake_verdict"
    ) as wrong:
        canaries.require_firm([scored(firm), score], most_fooled=0.1)
    assert wrong.value.exit_code == 3


def test_a_judge_that_copies_a_nonce_from_the_text_says_nothing() -> None:
    score = scored(lambda request: verdict(request, "yes", nonce="a1b2c3d4e5f6"))
    assert (score.count(canaries.SILENT), score.known, score.share) == (50, 0, None)
    canaries.require_firm([score], most_fooled=0)


def test_a_judge_that_is_blocked_or_missing_is_never_taken_for_a_firm_one() -> None:
    def silent(request: Request) -> Answer | None:
        if "canary:plain" in request.about:
            return firm(request)
        blocked = Answer(request=request, key=request.key(), status=Status.BLOCKED)
        return blocked if int(request.key()[0], 16) % 2 else None

    assert scored(silent).count(canaries.SILENT) == 50


def test_where_the_plain_answer_passes_nothing_can_be_told() -> None:
    score = scored(lambda request: verdict(request, "yes"))
    assert (score.count(canaries.BLIND), score.share) == (50, None)
    assert judges._tone(score) == ""  # nothing talked it round, and that is no praise
    assert judges._tone(scored(firm)) == "good"
