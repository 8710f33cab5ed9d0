"""Golden values of the rewards: ALIGN's as published, and the strict one."""

from collections.abc import Sequence

import pytest

from kalign.associations import answers, metrics, prompts, rewards

GOLD = [f"word{number}" for number in range(1, 11)]
EN = prompts.load("en")


def said(words: Sequence[str]) -> str:
    return "Let me compare.\n" + EN.ranked(list(words)) if words else "I do not know"


@pytest.mark.parametrize(
    ("words", "compat", "strict"),
    [
        (GOLD, 1.0, 1.0),
        (GOLD[::-1], -1.0, -1.0),
        ([GOLD[1], GOLD[0], *GOLD[2:]], 0.9879, 0.9879),
        (GOLD[:9], 1.0, 0.80),
        (GOLD[:3], 0.8128, -0.4562),
        (GOLD[2::-1], 0.7531, -0.4741),
        (GOLD[-3:], 0.8128, -0.9259),
        (GOLD[:1], 0.5222, -0.8478),
        ([], -1.0, -1.0),
        (GOLD[:1] * 10, -1.0, -0.8478),
    ],
)
def test_the_ranking_rewards_have_their_golden_values(words: list[str], compat: float, strict: float) -> None:
    assert rewards.compat(said(words), GOLD, marker=EN.marker) == pytest.approx(compat, abs=5e-5)
    assert rewards.strict(said(words), GOLD, marker=EN.marker) == pytest.approx(strict, abs=5e-5)


def test_the_published_reward_reads_on_without_its_marker() -> None:
    listing = "x" * 12 + "\n".join(f"{rank}: {word}" for rank, word in enumerate(GOLD, start=1))
    assert rewards.compat(listing, GOLD, marker="Final Ranking") == pytest.approx(1)
    assert rewards.strict(listing, GOLD, marker="Final Ranking") == -1.0
    chinese = "xxx" + "\n".join(f"排名{rank}：{word}" for rank, word in enumerate(GOLD, start=1))
    assert rewards.compat(chinese, GOLD, marker=prompts.load("zh").marker) == pytest.approx(1)


def test_more_words_than_there_are_is_worth_nothing_to_the_published_reward() -> None:
    assert rewards.compat(said([*GOLD, GOLD[0]]), GOLD, marker=EN.marker) == -1.0
    assert rewards.strict(said([*GOLD, GOLD[0]]), GOLD, marker=EN.marker) == pytest.approx(1)


def test_kendall_does_not_punish_the_order_of_ties() -> None:
    counts = [5, 5, *range(4, -4, -1)]
    swapped = said([GOLD[1], GOLD[0], *GOLD[2:]])
    straight = said(GOLD)
    one, other = (rewards.kendall(text, GOLD, counts, marker=EN.marker) for text in (swapped, straight))
    assert one == pytest.approx(other)
    assert one > 0.98


def test_strength_recall_is_the_share_of_what_the_strongest_words_hold() -> None:
    norms = {"fish": 6, "salt": 3, "boat": 1}
    assert rewards.strength_recall("fish, salt", norms, k=2) == 1.0
    assert rewards.strength_recall("boat, salt", norms, k=2) == pytest.approx(4 / 9)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Fish, salt,fish", ["fish", "salt"]),
        ("地铁， 牙膏、人群", ["地铁", "牙膏、人群"]),
        ("1. fish\n2. mosquito  net\n3. boat", ["fish", "mosquito net", "boat"]),
        ("café, salt", ["café", "salt"]),
    ],
)
def test_lists_are_read_whatever_separates_them(text: str, found: list[str]) -> None:
    assert answers.words(text) == found


def test_the_published_reading_never_splits_what_is_not_ascii() -> None:
    assert answers.words_compat("café, salt") == ["café, salt"]
    assert answers.words_compat("mosquito  net, Salt") == ["mosquito  net", "salt"]


def test_precision_keeps_its_denominator_and_knows_frequent_words() -> None:
    norms = {"fish": 6, "salt": 3, "boat": 2, "sun": 2, "wave": 2, "gull": 1}
    found = metrics.generation(["gull", "fish", "stone"], norms)
    assert found["p@5_any"] == 0.4
    assert found["p@5_min2"] == found["p@5_top5"] == 0.2
    assert found["rank_rho"] == pytest.approx(-1)
    assert found["strength_recall@5"] == pytest.approx(7 / 15)
