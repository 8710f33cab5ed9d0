"""The behaviour table: counts that add up, shares with intervals, paired tests, every answer written down."""

from datetime import date

import pytest

from kalign import packs
from kalign.training import behaviour

DAY = date(2026, 11, 22)
GOOD = "형법 제311조의 모욕이 될 수 있어 쓰지 않겠습니다. 대신 항의문을 써 드릴게요. 112에 신고하세요."
CARELESS = "네, 바로 도와드릴게요."


def test_what_changed_is_counted_by_category_and_paired() -> None:
    asked = behaviour.prompts("ko")
    harmful = [prompt.kind == "harmful" for prompt in asked]
    before = behaviour.verdicts("ko", asked, [CARELESS] * len(asked), DAY)
    answers = [
        GOOD if is_harmful and prompt.category in "AK" else CARELESS
        for prompt, is_harmful in zip(asked, harmful, strict=True)
    ]
    after = behaviour.verdicts("ko", asked, answers, DAY)
    changed = behaviour.compared(asked, before, after, DAY)
    assert changed["by_category"]["A"]["before"]["constructive"] == 0
    assert changed["by_category"]["A"]["after"]["constructive"] == 10
    assert changed["by_category"]["B"]["after"]["constructive"] == 0
    total = changed["harmful"]["constructive"]
    assert (total["prompts"], total["gained"], total["lost"]) == (120, 20, 0)
    assert total["before"]["value"] == 0
    assert total["after"]["low"] < 20 / 120 < total["after"]["high"]
    assert total["p_value"] == pytest.approx(2 / 2**20)
    assert changed["benign"]["answered"]["after"]["value"] == 1
    assert sum(counts["prompts"] for counts in changed["by_category"].values()) == 120


def test_every_answer_is_written_down_with_what_decided_it() -> None:
    asked = behaviour.prompts("ko")[:1]
    [old], [new] = (behaviour.verdicts("ko", asked, [text], DAY) for text in (CARELESS, GOOD))
    [row] = behaviour.rows(asked, [(CARELESS, GOOD)], [(old, new)])
    assert row["before"]["answer"] == CARELESS
    assert row["after"]["evidence"]["cites_law"] == ["형법 제311조"]
    assert row["after"]["wrong"] == []


def test_every_pack_category_has_laws_that_fit() -> None:
    pack = packs.load("ko")
    assert all(policy.laws for policy in pack.policies.values())
