"""Every row of a file, with what it cites and whether that exists; and the tables that show it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from kalign import files
from kalign.errors import DataError
from kalign.grounding.statutes import Statutes
from kalign.grounding.verify import Citation, Grounding


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one row of a file cites; `ok` when everything cited exists, or nothing is cited."""

    line: int
    id: str
    citations: list[Citation]

    @property
    def ok(self) -> bool:
        """Whether everything that is cited exists."""
        return all(citation.status.exists for citation in self.citations)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        cited = [citation.as_dict() for citation in self.citations]
        return {"line": self.line, "id": self.id, "ok": self.ok, "citations": cited}


def rows(path: Path, field: str, grounding: Grounding, as_of: date) -> list[Row]:
    """One result for each row of a JSON-lines file, in order.

    Raises:
        DataError: a row has no such field, or it is no text.
    """
    found = []
    for line, row in tqdm(files.read_jsonl(path), desc=f"checking {path.name}", unit="row", leave=False):
        if field not in row:
            raise DataError(
                f"{path}:{line}: there is no field {field!r}, only {', '.join(row)}; give field=NAME"
            )
        if not isinstance(row[field], str):
            raise DataError(f"{path}:{line}: {field} is {type(row[field]).__name__}, not text")
        cited = grounding.citations(row[field], as_of)
        found.append(Row(line=line, id=str(row.get("id", line)), citations=cited))
    return found


def print_rows(console: Console, found: Sequence[Row], as_of: date) -> None:
    """Every citation that does not hold, and how many there are of each status."""
    counts = Counter(citation.status.value for row in found for citation in row.citations)
    if not all(row.ok for row in found):
        table = Table(title=f"Citations that do not hold on {as_of}", title_justify="left")
        for column in ("row", "citation", "status", "why"):
            table.add_column(column, overflow="fold")
        for row in found:
            for one in row.citations:
                if not one.status.exists:
                    cells = (f"{row.line} {row.id}", one.text, one.status.value, one.detail)
                    table.add_row(*map(Text, cells))
        console.print(table)
    wrong = sum(not row.ok for row in found)
    spelled = ", ".join(f"{count:,} {status.replace('_', ' ')}" for status, count in counts.most_common())
    console.print(
        f"{len(found):,} rows, {sum(counts.values()):,} citations ({spelled or 'none'}); {wrong:,} rows "
        "are not ok",
        soft_wrap=True,
    )


def print_table(console: Console, table: Statutes, out: Path, faults: Sequence[str]) -> None:
    """What a table of laws holds, and what its self-check found."""
    shown = Table(title=f"Statutes, state of {table.as_of}", title_justify="left")
    shown.add_column("")
    shown.add_column("count", justify="right")
    articles = table.articles.values()
    shown.add_row("laws", f"{len(table.laws):,}")
    shown.add_row("laws whose articles are listed", f"{len(table.titled):,}")
    shown.add_row("articles", f"{len(articles):,}")
    shown.add_row("deleted articles", f"{sum(one.deleted for one in articles):,}")
    shown.add_row("inserted (branch) articles", f"{sum(one.branch > 0 for one in articles):,}")
    shown.add_row("names that several laws share", f"{len(table.laws) - len(table.by_name):,}")
    console.print(shown)
    for fault in faults:
        console.print(f"self-check: {fault}", style="red", soft_wrap=True)
    if not faults:
        console.print("self-check: no number stands twice, and every probe is found")
    console.print(f"Table: {out}", soft_wrap=True)
