"""Numbers of an evaluation on word associations as people read them: what all its pages and tables share."""

from collections.abc import Mapping
from typing import Any

from kalign import pages
from kalign.statistics import spelled

Number = Mapping[str, float] | None  # with `value`, `low` and `high`; None where nothing was measured


def value(found: Number) -> str:
    """The value alone."""
    return "-" if found is None else f"{found['value']:.2f}"


def interval(parts: Mapping[str, Any], part: str, name: str) -> tuple[float, float, float] | None:
    """A number of one arm with its bounds, as a chart takes it."""
    found = parts.get(part, {}).get(name)
    return None if found is None else (found["value"], found["low"], found["high"])


def axis(row: Mapping[str, Any]) -> Number:
    """Where an arm's survey answers lie between the two countries."""
    found: Number = (row.get("tuned") or row.get("base") or {}).get("axis")
    return found


def tables(seed: Mapping[str, Any]) -> list[Any]:
    """Every number of one evaluation, with its interval, as the tables of a page."""
    parts = []
    arms = seed["arms"]
    for part in ("own", "other", "contrast", "ranking"):
        names = dict.fromkeys(name for row in arms.values() for name in row.get(part, {}))
        if names:
            rows = [
                [name, *(spelled(row.get(part, {}).get(name), digits=2) for row in arms.values())]
                for name in names
            ]
            parts.append(pages.table([part, *arms], rows, caption=f"{part}: means with 95 % intervals"))
    for dimension, rows in seed.get("affect", {}).items():
        parts.append(
            pages.table(
                [dimension, "mean of medians", "tokens covered", "differs from people", "closer than base"],
                [
                    [
                        arm,
                        "-" if row["mean_of_medians"] is None else f"{row['mean_of_medians']:.2f}",
                        f"{row['coverage']['tokens']:.0%}",
                        _p(row.get("differs_from_human")),
                        _p(row.get("closer_than_base")),
                    ]
                    for arm, row in rows.items()
                ],
                caption=f"{dimension}: Wilcoxon, Holm-adjusted p",
            )
        )
    parts += _survey(seed.get("survey"))
    return parts


def _survey(survey: Mapping[str, Any] | None) -> list[Any]:
    if not survey:
        return []
    rows = []
    for arm, row in survey["arms"].items():
        tension = row.get("tension")
        closer = "-" if tension is None else f"{tension['closer_to_target']['tuned']} of {tension['items']}"
        rows.append([arm, *(spelled(one, digits=2) for one in (axis(row), row.get("shift"))), closer])
    title = f"From {survey['source']} (0) to {survey['target']} (1)"
    return [pages.table(["survey", "axis", "shift to target", "closer to target"], rows, caption=title)]


def _p(found: Number) -> str:
    return "-" if found is None else f"{found['holm']:.2g}"
