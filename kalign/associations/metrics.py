"""What a list or a ranking shows of a culture: P@k against its norms, rank correlation, form."""

from collections.abc import Mapping, Sequence

from kalign.associations import answers, rewards
from kalign.data.examples import Example, Score


def precision(listed: Sequence[str], accepted: Mapping[str, int] | set[str], k: int) -> float:
    """The share of the first k words that are accepted; words that were not named count as wrong.

    >>> precision(["rice", "fish"], {"rice"}, 5)
    0.2
    """
    return sum(word in accepted for word in listed[:k]) / k


def accepted(norms: Mapping[str, int], kind: str) -> set[str]:
    """The associates that count as hits: any, those named twice (min2), or the n most frequent (topN)."""
    if kind == "any":
        return set(norms)
    if kind == "min2":
        return {word for word, count in norms.items() if count >= 2}
    return set(list(norms)[: int(kind.removeprefix("top"))])


def generation(listed: Sequence[str], norms: Mapping[str, int], *, k: int = 5) -> dict[str, float]:
    """All numbers of one list of associates.

    Args:
        norms: associate → count, the most frequent first.
    """
    found = {
        f"p@{k}_{kind}": precision(listed, accepted(norms, kind), k)
        for kind in ("any", "min2", "top5", "top10")
    }
    best = sum(list(norms.values())[:k])
    found[f"strength_recall@{k}"] = sum(norms.get(word, 0) for word in listed[:k]) / best
    places = {word: place for place, word in enumerate(norms)}
    shared = [word for word in listed if word in places]
    rho = rewards.spearman([places[word] for word in shared], range(len(shared))) if len(shared) > 1 else None
    return found if rho is None else found | {"rank_rho": rho}


def listing(example: Example, answer: str, *, k: int = 5) -> dict[str, float]:
    """The numbers of one answer that is a list; it has the right form with k different words and more."""
    listed = answers.words(answer)
    return generation(listed, example.gold["norms"], k=k) | {"format_rate": float(len(listed) >= k)}


def published(example: Example, answer: str, depths: Sequence[int], *, compat: bool) -> dict[str, float]:
    """P@k at further depths, any associate being a hit; with `compat`, P@5 as ALIGN's code reads it too."""
    norms = example.gold["norms"]
    listed = answers.words(answer)
    found = {f"p@{k}_any": precision(listed, set(norms), k) for k in depths}
    if compat:
        found["p@5_any_compat"] = precision(answers.words_compat(answer), set(norms), 5)
    return found


def ranked(example: Example, answer: str, *, marker: str) -> dict[str, float]:
    """The numbers of one answer that is a ranking: both rewards, and whether it ranks every word."""
    gold = example.gold["words"]
    return {
        "spearman_strict": rewards.strict(answer, gold, marker=marker),
        "spearman_compat": rewards.compat(answer, gold, marker=marker),
        "format_rate": float(answers.well_formed(answer, marker, gold)),
    }


def scored(task: str, *, marker: str) -> Score:
    """The function that gives the numbers of one answer to a task."""
    if task == "ranking":
        return lambda example, answer: ranked(example, answer, marker=marker)
    k = 5 if task == "generation" else 3
    return lambda example, answer: listing(example, answer, k=k)
