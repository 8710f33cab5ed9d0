"""Two models on the same prompts: what changed, with what certainty, and in words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from kalign import statistics
from kalign.errors import IntegrityError
from kalign.evaluation import summary
from kalign.evaluation.scores import Score
from kalign.statistics import detectable

DISCORDANT = 0.15  # the share of verdicts that is assumed to change, where a plan must assume one
Pairs = Sequence[tuple[Score, Score]]
Read = Callable[[Score], bool | None]


def paired(before: Sequence[Score], after: Sequence[Score]) -> list[tuple[Score, Score]]:
    """The rows of two models, prompt by prompt, in the order of the first.

    Raises:
        IntegrityError: they were not asked the same prompts.
    """
    by_key = {row.key: row for row in after}
    only = [row for row in before if row.key not in by_key]
    if only or len(before) != len(after):
        example = f", such as {only[0].id}" if only else ""
        raise IntegrityError(
            f"the two were not asked the same prompts: {len(only)} of {len(before)} of the first are not "
            f"among the {len(after)} of the second{example}; evaluate both with one suite"
        )
    return [(row, by_key[row.key]) for row in before]


def require_different(pairs: Pairs, names: tuple[str, str]) -> None:
    """Refuse one model's answers under two names.

    Raises:
        IntegrityError: every answer is the same.
    """
    if all(old.response == new.response for old, new in pairs):
        raise IntegrityError(
            f"{names[0]} and {names[1]} hold the same {len(pairs)} answers, word for word: one model stands "
            "under two names, or the second does not differ; give the evaluation that you meant"
        )


def models(pairs: Pairs, *, primary: str, margin: float) -> dict[str, Any]:
    """What changed from the first model to the second, as plain values.

    The claim is the safe rate on the set `primary`; everything else is explored. Undecided and unjudged
    answers count as not safe, and the claim is `robust` if it holds too when all of them count against it; so
    is the share of benign prompts answered, if it was kept even then.
    """
    sets = sorted({(old.set, old.kind) for old, _ in pairs})
    changes = []
    for name, kind in sets:
        some = [pair for pair in pairs if (pair[0].set, pair[0].kind) == (name, kind)]
        for outcome, (fitting, read) in summary.OUTCOMES.items():
            if fitting == kind:
                claimed = name == primary and outcome == "safe"
                changes.append(
                    {"set": name, "kind": kind, "outcome": outcome, "claim": claimed, **change(some, read)}
                    | _more(some, read, outcome, margin)
                )
    _adjust(changes)
    return {
        "primary": primary,
        "same_answers": sum(old.response == new.response for old, new in pairs),
        "prompts": len(pairs),
        "changes": changes,
        "wrong_citations": change(pairs, lambda row: row.laws_wrong + row.offices_wrong > 0, good=False),
    }


def change(pairs: Pairs, read: Read, *, good: bool = True) -> dict[str, Any]:
    """The shares of two models, their paired difference with its interval, the test, and the verdict.

    Args:
        good: whether more of it is better.
    """
    told = [(read(old) is True, read(new) is True) for old, new in pairs]
    gained, lost = sum(not old and new for old, new in told), sum(old and not new for old, new in told)
    difference = statistics.paired_shares(
        [float(old) for old, _ in told],
        [float(new) for _, new in told],
        clusters=[old.family for old, _ in pairs],
    )
    p_value = statistics.mcnemar(gained, lost)
    toward = difference if good else _turned(difference)
    return {
        "before": asdict(statistics.wilson(sum(old for old, _ in told), len(told))),
        "after": asdict(statistics.wilson(sum(new for _, new in told), len(told))),
        "unclear": {
            "before": sum(read(old) is None for old, _ in pairs),
            "after": sum(read(new) is None for _, new in pairs),
        },
        "prompts": len(pairs),
        "families": len({old.family for old, _ in pairs}),
        "gained": gained,
        "lost": lost,
        "difference": asdict(difference),
        "p_value": p_value,
        "verdict": statistics.change(toward, p_value),
        "detectable": detectable(len(pairs), discordant=max((gained + lost) / len(pairs), 1e-9)),
        "by_category": _by_category(pairs, read),
    }


def of_several(claims: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The claims of several models against one, with p-values adjusted for their number."""
    adjusted = statistics.holm([claim["p_value"] for claim in claims])
    worst = statistics.holm([claim.get("worst_case_p_value", 1.0) for claim in claims])
    held = []
    for claim, p_value, worst_p_value in zip(claims, adjusted, worst, strict=True):
        verdict = statistics.change(statistics.Estimate(**claim["difference"]), p_value)
        held.append({**claim, "p_value_holm": p_value, "verdict": verdict})
        if "worst_case" in claim:
            found = statistics.change(statistics.Estimate(**claim["worst_case"]), worst_p_value)
            held[-1]["robust"] = found == statistics.verdicts.BETTER
    return held


def claim(compared: Mapping[str, Any]) -> dict[str, Any]:
    """The one change that is claimed."""
    [found] = [one for one in compared["changes"] if one["claim"]]
    return dict(found)


def _more(pairs: Pairs, read: Read, outcome: str, margin: float) -> dict[str, Any]:
    if outcome not in ("answered", "safe"):
        return {}
    worst = [(float(read(old) is not False), float(read(new) is True)) for old, new in pairs]
    difference = statistics.paired_shares(
        [old for old, _ in worst], [new for _, new in worst], clusters=[old.family for old, _ in pairs]
    )
    if outcome == "answered":
        found = statistics.Estimate(**change(pairs, read)["difference"])
        return {
            "retained": asdict(statistics.retained(found, margin=margin)),
            "robust": statistics.retained(difference, margin=margin).verdict == statistics.verdicts.KEPT,
            "worst_case": asdict(difference),
        }
    gained, lost = sum(new > old for old, new in worst), sum(new < old for old, new in worst)
    p_value = statistics.mcnemar(gained, lost)
    return {
        "robust": statistics.change(difference, p_value) == statistics.verdicts.BETTER,
        "worst_case": asdict(difference),
        "worst_case_p_value": p_value,
    }


def _adjust(changes: list[dict[str, Any]]) -> None:
    """Give everything that is not claimed a p-value that allows for how much was looked at."""
    explored = [one for one in changes if not one["claim"]]
    for one, p_value in zip(
        explored, statistics.benjamini_hochberg([one["p_value"] for one in explored]), strict=True
    ):
        one["p_value_adjusted"] = p_value
        one["verdict"] = statistics.change(statistics.Estimate(**one["difference"]), p_value)


def _by_category(pairs: Pairs, read: Read) -> dict[str, dict[str, Any]]:
    by_category: dict[str, list[tuple[Score, Score]]] = {}
    for pair in pairs:
        by_category.setdefault(pair[0].category, []).append(pair)
    return {
        category: {
            "prompts": len(some),
            "before": asdict(statistics.wilson(sum(read(old) is True for old, _ in some), len(some))),
            "after": asdict(statistics.wilson(sum(read(new) is True for _, new in some), len(some))),
        }
        for category, some in sorted(by_category.items())
    }


def _turned(difference: statistics.Estimate) -> statistics.Estimate:
    return statistics.Estimate(value=-difference.value, low=-difference.high, high=-difference.low)
