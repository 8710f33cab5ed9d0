"""What a ranking or a list of associates is worth: ALIGN's reward as published, and rewards that cannot be
gamed."""

import re
from collections.abc import Callable, Mapping, Sequence

import numpy
from scipy import stats

from kalign.associations import answers
from kalign.data.examples import Example

RANGES = {
    "spearman_compat": (-1.0, 1.0),
    "spearman_strict": (-1.0, 1.0),
    "kendall": (-1.0, 1.0),
    "strength_recall": (0.0, 1.0),
}


def spearman(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Spearman's ρ with mean ranks for ties; None where one side is constant, and no correlation exists.

    Raises:
        ValueError: the lengths differ.
    """
    if len(one) != len(other):
        raise ValueError(f"{len(one)} values cannot be ranked against {len(other)}")
    if len(set(one)) < 2 or len(set(other)) < 2:
        return None
    return float(numpy.corrcoef(stats.rankdata(one), stats.rankdata(other))[0, 1])


def compat(answer: str, gold: Sequence[str], *, marker: str) -> float:
    """The reward of ALIGN's code, which a few words or the worst ones can game.

    A missing marker does not fail: the text behind the first letters is read. Words that stand twice are
    kept; more than K of them are worth -1.

    Source:
        github.com/kabir-manandhar/Cultural-Lexis at 3e316be, ppo_further_training/reward_func.py.
    """
    start = answer.lower().rfind(marker.lower()) + len(marker)
    first: dict[int, str] = {}
    for rank, word in re.findall(r"(\d+)\s*[:：]\s*(.*)", answer[start:]):
        first.setdefault(int(rank), word.replace("*", "").strip().lower())
    places = {word.lower(): place for place, word in enumerate(gold, start=1)}
    ranks = [places[first[rank]] for rank in sorted(first) if first[rank] in places]
    total = len(gold)
    if len(ranks) > total:
        return -1.0
    ranks += [total + 1] * (total - len(ranks))
    found = spearman(ranks, range(1, total + 1))
    return -1.0 if found is None else found


def strict(answer: str, gold: Sequence[str], *, marker: str) -> float:
    """Coverage times ρ, less what is not covered; -1 without an answer block or any gold word.

    With m of K gold words listed, c = m/K: listed words take the positions 1 to m, every other gold word the
    mean of the rest, and the reward is c·ρ - (1 - c). Foreign and repeated words are passed over.
    """
    listed = answers.ranking(answer, marker, gold)
    total, found = len(gold), len(listed)
    if not found:
        return -1.0
    place = {word: float(number) for number, word in enumerate(listed, start=1)}
    positions = [place.get(word, (found + 1 + total) / 2) for word in gold]
    covered = found / total
    return covered * (spearman(positions, range(1, total + 1)) or 0.0) - (1 - covered)


def kendall(answer: str, gold: Sequence[str], counts: Sequence[int], *, marker: str) -> float:
    """Coverage times Kendall's τ_b against the counts, less what is not covered: ties cost nothing."""
    listed = answers.ranking(answer, marker, gold)
    total, found = len(gold), len(listed)
    if not found:
        return -1.0
    place = {word: float(number) for number, word in enumerate(listed, start=1)}
    positions = [-place.get(word, (found + 1 + total) / 2) for word in gold]
    tau = float(stats.kendalltau(positions, counts).statistic) if len(set(positions)) > 1 else 0.0
    covered = found / total
    return covered * (0.0 if numpy.isnan(tau) else tau) - (1 - covered)


def strength_recall(answer: str, norms: Mapping[str, int], *, k: int) -> float:
    """How much association strength the first k words hold, of what the k strongest would: 0 to 1."""
    best = sum(sorted(norms.values(), reverse=True)[:k])
    return sum(norms.get(word, 0) for word in answers.words(answer)[:k]) / best


def named(name: str, *, marker: str, k: int) -> Callable[[Example, str], float]:
    """The reward that a recipe names, as a function of an example and an answer to it."""
    if name == "spearman_compat":
        return lambda example, answer: compat(answer, example.gold["words"], marker=marker)
    if name == "spearman_strict":
        return lambda example, answer: strict(answer, example.gold["words"], marker=marker)
    if name == "kendall":
        return lambda example, answer: kendall(
            answer, example.gold["words"], example.gold["counts"], marker=marker
        )
    return lambda example, answer: strength_recall(answer, example.gold["norms"], k=k)
