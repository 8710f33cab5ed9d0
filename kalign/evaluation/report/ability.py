"""The part of a page that shows what a model can do: scores by task, with the base beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kalign import pages
from kalign.evaluation import tables
from kalign.pages import Cell, Section


def sections(folder: Path, document: dict[str, Any]) -> tuple[str, list[Section]]:
    """The table of abilities, and how they were measured."""
    rows = [_row(one) for one in document["tasks"]]
    columns = ["task", "n", "base in %", "model in %", "difference", "verdict"]
    how = (
        f"lm-evaluation-harness {document['harness']}, {document['num_fewshot']} shots, "
        f"{'with' if document['chat_template'] else 'without'} chat template; a task is kept where its loss "
        f"is below {document['margin'] * 100:g} points with certainty"
    )
    return "", [Section(title="Ability", parts=[pages.table(columns, rows), pages.text(how, soft=True)])]


def _row(task: Mapping[str, Any]) -> list[str | Cell]:
    change = task.get("change") or {}
    verdict = change.get("verdict", "–")
    return [
        task["task"],
        str(task["n"]),
        tables.spelled(task.get("base")),
        tables.spelled(task["model"]),
        tables.spelled(change.get("difference"), sign="+"),
        Cell(verdict, {"kept": "good", "worse": "bad"}.get(verdict, "")),
    ]
