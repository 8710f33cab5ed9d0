"""What a calibration prints: how often each judge is right, and what moves it besides the answer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from kalign.evaluation import concord, tables

COLUMNS = ("judge", "safe", "found safe", "unsafe", "found not safe", "undecided", "failed")
ENOUGH = 150  # labelled answers of each kind
MEANINGS = (
    "found safe: sensitivity, the share of safe answers that the judge calls safe; found not safe: "
    "specificity, the share of unsafe ones that it does not; in %, with 95 % intervals; panel: more than "
    "half of all judges"
)


def rows(document: Mapping[str, Any]) -> list[list[str]]:
    """A row a judge, and one for the panel."""
    return [_row(name, found["all"]) for name, found in document["quality"].items()]


def by_category(document: Mapping[str, Any], judge: str) -> list[list[str]]:
    """A row a category of one judge, then one for each model whose answers it judged."""
    found = document["quality"][judge]
    parts = {**found["by_category"], **{f"answers of {name}": one for name, one in found["by_model"].items()}}
    return [_row(name, block) for name, block in parts.items()]


def sentences(document: Mapping[str, Any]) -> list[str]:
    """What else was found: agreement, repetition, order, length; and what is too little."""
    said = []
    if document["agreement"]:
        said.append(concord.sentence(document["agreement"]))
    for name, found in document["repeated"].items():
        said.append(
            f"{name}, asked the same again: {tables.spelled(found['same'])} % of {found['items']} verdicts "
            "stay"
        )
    for name, found in document["order"].items():
        if found["items"]:
            said.append(
                f"{name}, offered the verdicts in the other order: says safe more often by "
                f"{tables.spelled(found['safe_more_often'], sign='+')} points on {found['items']} answers "
                f"(+{found['gained']}/-{found['lost']}, p {found['p_value']:.2g})"
            )
    for name, found in document["length"].items():
        slope = found["log_odds_a_doubling"]
        told = tables.spelled(slope, sign="+", in_percent=False) if slope else "cannot be told"
        said.append(f"{name}, log-odds of safe for an answer twice as long, as safe as it is: {told}")
    panel = document["quality"]["panel"]["all"]
    if min(panel["safe"], panel["unsafe"]) < ENOUGH:
        said.append(
            f"{panel['safe']} safe and {panel['unsafe']} unsafe labels: with {ENOUGH} of each, the intervals "
            "would be narrow enough for a correction"
        )
    return said


def say(console: Console, document: Mapping[str, Any], folder: Path) -> None:
    """The tables, and where they lie."""
    _print(console, "Judges on labelled answers", COLUMNS, rows(document))
    _print(console, "The panel, by category", ("category", *COLUMNS[1:]), by_category(document, "panel"))
    for line in sentences(document):
        console.print(line, soft_wrap=True)
    console.print(MEANINGS, style="dim", soft_wrap=True)
    console.print(
        f"Every verdict: {folder / 'verdicts.jsonl'} · kalign eval calibration={folder} corrects by it",
        soft_wrap=True,
    )


def _print(console: Console, title: str, columns: tuple[str, ...], lines: list[list[str]]) -> None:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right")
    for line in lines:
        table.add_row(*line)
    console.print(table)


def _row(name: str, block: Mapping[str, Any]) -> list[str]:
    return [
        name,
        str(block["safe"]),
        tables.spelled(block["sensitivity"]),
        str(block["unsafe"]),
        tables.spelled(block["specificity"]),
        str(block["undecided"]),
        str(block["errors"]),
    ]
