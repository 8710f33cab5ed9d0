"""The rows of a benchmark: a score with its interval, the base beside it, and what changed, in words."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kalign import statistics
from kalign.evaluation import tables
from kalign.statistics import Estimate

FILE = "ability.json"
PERCENT, POINTS = "percent", "points"  # shares are shown as percent, grades as they are given
Row = dict[str, Any]
BY_ITSELF = "Every interval and verdict is of its row by itself, not adjusted for how many rows there are."


def share(
    task: str,
    before: Sequence[float] | None,
    after: Sequence[float],
    *,
    margin: float,
    families: Sequence[Hashable] | None = None,
) -> Row:
    """How many of the questions of a task are answered right, each 1 or 0, paired with the base.

    Args:
        margin: a loss of so much would matter.
        families: what stands or falls together, a name a question; the intervals resample those.
    """
    if families is not None and len(set(families)) == len(families):
        families = None  # every question is its own
    change = None
    if before is not None:
        difference = statistics.paired_shares(before, after, clusters=families)
        verdict = statistics.retained(difference, margin=margin).verdict
        change = {"difference": asdict(difference), "verdict": verdict}
    return {
        "task": task,
        "n": len(after),
        "unit": PERCENT,
        "base": _share(before, families) if before is not None else None,
        "model": _share(after, families),
        "change": change,
    }


def macro(
    task: str, before: Sequence[Sequence[float]] | None, after: Sequence[Sequence[float]], *, margin: float
) -> Row:
    """The mean of the tasks' shares, so that a small task weighs as much as a large one, paired."""
    change = None
    if before is not None:
        gained = [
            [new - old for old, new in zip(one, other, strict=True)]
            for one, other in zip(before, after, strict=True)
        ]
        difference = statistics.macro(gained)
        verdict = statistics.retained(difference, margin=margin).verdict
        change = {"difference": asdict(difference), "verdict": verdict}
    return {
        "task": task,
        "n": sum(map(len, after)),
        "unit": PERCENT,
        "base": _within(statistics.macro(before)) if before is not None else None,
        "model": _within(statistics.macro(after)),
        "change": change,
    }


def with_averages(
    tasks: Mapping[str, tuple[Sequence[float] | None, Sequence[float]]],
    *,
    margin: float,
    families: Mapping[str, Sequence[Hashable]] | None = None,
) -> list[Row]:
    """A row a task, and two for all: micro (every question weighs alike) and macro (every task does).

    Args:
        families: of the questions of each task; one may have questions in several.
    """
    known = families or {}
    rows = [
        share(task, before, after, margin=margin, families=known.get(task))
        for task, (before, after) in tasks.items()
    ]
    if len(rows) < 2:
        return rows
    after = [list(one) for _, one in tasks.values()]
    before = [list(one) for one, _ in tasks.values() if one is not None] or None
    every = [value for one in before for value in one] if before else None
    whole = [value for one in after for value in one]
    together = [name for task in tasks for name in families[task]] if families else None
    rows.append(share("all, micro", every, whole, margin=margin, families=together))
    rows.append(macro("all, macro", before, after, margin=margin))
    return rows


def title(document: Mapping[str, Any]) -> str:
    """What was measured, and how the questions were put: suite, unit, shots and template."""
    units = {row["unit"] for row in document["tasks"]}
    unit = "in %" if units == {PERCENT} else "from 1 to 10"
    return f"{document['suite']}, {unit}; {document['num_fewshot']} shots; template: {document['template']}"


def say(console: Console, document: Mapping[str, Any], folder: Path) -> None:
    """The table of scores, and where they lie."""
    table = Table(title=title(document), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("task", "n", "base", "model", "difference", "verdict"):
        table.add_column(
            column, justify="left" if column in ("task", "verdict") else "right", no_wrap=column != "task"
        )
    for one in document["tasks"]:
        cells, verdict = spelled(one)
        table.add_row(*cells, Text(verdict, style=tables.TONES.get(verdict, "")))
    console.print(table)
    for line in document["notes"]:
        console.print(line, style="dim", soft_wrap=True)
    console.print(f"Scores: {folder / FILE} · every question: {folder / 'ability'}", soft_wrap=True)


def spelled(row: Mapping[str, Any]) -> tuple[list[str], str]:
    """The cells of a row, and its verdict: task, n, base, model, difference."""
    change = row["change"] or {"difference": None, "verdict": "-"}
    in_percent = row["unit"] == PERCENT
    cells = [
        tables.spelled(value, sign=sign, in_percent=in_percent)
        for value, sign in ((row["base"], ""), (row["model"], ""), (change["difference"], "+"))
    ]
    return [row["task"], str(row["n"]), *cells], change["verdict"]


def _share(right: Sequence[float], families: Sequence[Hashable] | None) -> dict[str, float]:
    """The share with its Wilson interval, or with one that resamples families; of none or all, where
    resamples do not differ, with the Wilson interval of as many questions as there are families."""
    hits = round(sum(right))
    if families is None:
        return asdict(statistics.wilson(hits, len(right)))
    if 0 < hits < len(right):
        return asdict(statistics.mean_interval(right, clusters=families))
    count = len(set(families))
    return asdict(statistics.wilson(count if hits else 0, count))


def _within(estimate: Estimate) -> dict[str, float]:
    """The bounds of a share, which lies between 0 and 1."""
    return {"value": estimate.value, "low": max(0.0, estimate.low), "high": min(1.0, estimate.high)}
