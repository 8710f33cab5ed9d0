"""How far the judges of an evaluation agree: raw, Fleiss, Krippendorff, AC1, and each pair of them."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from kalign import statistics
from kalign.evaluation.judges import ERROR, SAFE, UNDECIDABLE, UNSAFE, Ruling

VERDICTS = (SAFE, UNSAFE, UNDECIDABLE)


def agreement(rulings: Sequence[Mapping[str, str]]) -> dict[str, Any] | None:
    """Every measure over the verdicts by judge, an item each; None of fewer than two judges.

    A judge that failed on an item is missing there; what cannot be computed is None.
    """
    names = list(rulings[0]) if rulings else []
    if len(names) < 2:
        return None
    ratings = [[None if item[name] == ERROR else item[name] for name in names] for item in rulings]
    complete = [row for row in ratings if None not in row]
    pairs = {
        f"{names[one]} and {names[other]}": statistics.cohen(
            [str(row[one]) for row in complete], [str(row[other]) for row in complete]
        )
        for one, other in itertools.combinations(range(len(names)), 2)
    }
    return {
        "items": len(ratings),
        "complete": len(complete),
        "raw": statistics.raw(ratings),
        "fleiss": statistics.fleiss(complete),
        "krippendorff": statistics.krippendorff(ratings),
        "gwet_ac1": statistics.gwet(ratings, categories=len(VERDICTS)),
        "cohen": pairs,
        "failed": {name: sum(item[name] == ERROR for item in rulings) for name in names},
    }


def of_rulings(rulings: Sequence[Ruling]) -> dict[str, Any] | None:
    """The same of the rulings of a panel."""
    return agreement([{name: vote.verdict for name, vote in one.votes.items()} for one in rulings])


def sentence(found: Mapping[str, Any]) -> str:
    """The measures in one line."""
    measures = {
        "raw": "raw",
        "Fleiss' kappa": "fleiss",
        "Krippendorff's alpha": "krippendorff",
        "AC1": "gwet_ac1",
    }
    said = ", ".join(f"{name} {_spelled(found[key])}" for name, key in measures.items())
    pairs = ", ".join(f"{names} {_spelled(value)}" for names, value in found["cohen"].items())
    silent = [f"{name} on {count}" for name, count in found.get("failed", {}).items() if count]
    failed = f"; failed: {', '.join(silent)}, which counts as no vote for safe" if silent else ""
    return f"Agreement of the judges on {found['items']} answers: {said}; Cohen's kappa: {pairs}{failed}"


def _spelled(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
