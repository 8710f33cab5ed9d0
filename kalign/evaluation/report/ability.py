"""The part of a page that shows what a model can do: scores by task, with the base beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from kalign import pages
from kalign.errors import DataError
from kalign.evaluation import scoreboard
from kalign.pages import Cell, Section

COLUMNS = ["task", "n", "base", "model", "difference", "verdict"]


def sections(folder: Path, document: dict[str, Any]) -> tuple[str, list[Section]]:
    """The table of abilities, how they were measured, and the parts of a benchmark that has any.

    Raises:
        DataError: an older kalign wrote it, without the template.
    """
    if "template" not in document:
        raise DataError(f"{folder / scoreboard.FILE} was written by an older kalign; run its command again")
    parts = [_table(document["tasks"], scoreboard.title(document))]
    parts += [pages.text(note, soft=True) for note in document["notes"]]
    made = [Section(title=f"Ability: {document['suite']}", parts=parts)]
    for title, rows in document.get("parts", {}).items():
        made.append(Section(title=title, parts=[_table(rows, "")]))
    return "", made


def _table(rows: list[Mapping[str, Any]], caption: str) -> Markup:
    return pages.table(COLUMNS, [_row(one) for one in rows], caption=caption)


def _row(task: Mapping[str, Any]) -> list[str | Cell]:
    cells, verdict = scoreboard.spelled(task)
    return [*cells, Cell(verdict, {"kept": "good", "better": "good", "worse": "bad"}.get(verdict, ""))]
