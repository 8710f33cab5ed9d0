"""The part of a page that shows judges on labelled answers."""

from pathlib import Path
from typing import Any

from kalign import pages
from kalign.evaluation import calibration_tables as shown
from kalign.pages import Section


def sections(folder: Path, document: dict[str, Any]) -> tuple[str, list[Section]]:
    """How often the judges are right, by category, and what moves them besides the answer."""
    columns = list(shown.COLUMNS)
    folds = [
        pages.fold(name, [pages.table(["category", *columns[1:]], shown.by_category(document, name))])
        for name in document["quality"]
    ]
    made = [
        Section(
            title="Judges on labelled answers",
            parts=[pages.table(columns, shown.rows(document)), pages.text(shown.MEANINGS, soft=True)],
        ),
        Section(title="By category", parts=folds),
        Section(title="What else moves them", parts=[pages.text(line) for line in shown.sentences(document)]),
    ]
    return f"{len(document['judges'])} judges on {document['answers']} labelled answers", made
