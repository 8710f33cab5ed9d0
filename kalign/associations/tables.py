"""Tables of texts: comma- or tab-separated, the first line names the columns, every error has its line."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kalign import files
from kalign.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Table:
    """The columns of a file, and its rows by line number."""

    columns: list[str]
    rows: Iterator[tuple[int, dict[str, str]]]


def read(path: Path) -> Table:
    """The table in a file; its first line says whether tabs or commas separate the fields.

    Raises:
        DataError: the file is missing, empty or not UTF-8, or a row has more or fewer fields than there are
            columns.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist; give the path of an existing file")
    with path.open("rb") as stream:
        tabs = b"\t" in stream.readline()
    rows = _tabbed(path) if tabs else files.read_csv(path)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{path} names columns, but has no rows")
    return Table(columns=list(first[1]), rows=_chained(first, rows))


def _chained(first: tuple[int, Any], rest: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    yield first
    yield from rest


def _tabbed(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of a file whose fields are separated by tabs; a quotation mark is a character like any other."""
    columns: list[str] | None = None
    with path.open("rb") as stream:
        for number, raw in enumerate(stream, start=1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as wrong:
                raise DataError(
                    f"{path}:{number}: not UTF-8, byte 0x{raw[wrong.start]:02x}; save the file as UTF-8"
                ) from wrong
            fields = [_unquoted(files.nfc(field)) for field in line.split("\t")]
            if columns is None:
                columns = fields
            elif len(fields) != len(columns):
                raise DataError(f"{path}:{number}: {len(fields)} fields for {len(columns)} columns")
            else:
                yield number, dict(zip(columns, fields, strict=True))


def _unquoted(field: str) -> str:
    """The field without the quotation marks that R writes around every text."""
    return field[1:-1] if len(field) > 1 and field[0] == field[-1] == '"' else field
