"""The rows of a benchmark as its user has them: a file, a folder of files, or a data set of the Hub, under
declared column names."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kalign import files, runs
from kalign.config import Source
from kalign.data import sources
from kalign.errors import ConfigError, DataError

HUB = "hub:"
SPLIT = "test"  # of a data set of the Hub, where the user names no other


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the rows are."""

    path: str
    revision: str | None = None
    subset: str | None = None
    split: str = SPLIT

    def digest(self) -> str:
        """What names these rows: the bytes of the files, or the commit of a Hub data set."""
        if self.path.startswith(HUB):
            return f"{self.path}@{self.revision}:{self.subset}:{self.split}"
        return runs.fingerprint([[str(path), files.sha256(path)] for path in self.files()])

    def files(self) -> list[Path]:
        """The files that hold rows.

        Raises:
            ConfigError: there is none.
        """
        place = Path(self.path).expanduser()
        found = [place] if place.is_file() else sorted(place.rglob("*")) if place.is_dir() else []
        found = [path for path in found if path.suffix.lower() in sources.READERS]
        if not found:
            raise ConfigError(
                f"data={self.path} holds no file that can be read ({', '.join(sources.READERS)}); give a "
                "file, a folder of files, or hub:OWNER/NAME with revision=COMMIT"
            )
        return found


def rows(place: Place, named: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row under the benchmark's own field names, with where it stands.

    Args:
        named: the column of each field.

    Raises:
        ConfigError: there is nothing to read.
        DataError: a row lacks a column.
    """
    for where, row in _read(place):
        if missing := [(field, column) for field, column in named.items() if column not in row]:
            field, column = missing[0]
            raise DataError(
                f"{where} has no column {column!r}, only {', '.join(map(str, row))}; if it is called "
                f"otherwise there, declare it: columns={field}:NAME"
            )
        yield where, {field: row[column] for field, column in named.items()}


def mappings(place: Place) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The entries of files that hold one JSON mapping each: the file, the key, and what stands under it.

    Raises:
        ConfigError: there is no JSON file.
        DataError: a file holds something else.
    """
    for path in place.files():
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as wrong:
            raise DataError(f"{path} is no JSON: {wrong}") from wrong
        if not isinstance(content, dict):
            raise DataError(f"{path} holds no mapping of questions by their id, as its benchmark's files do")
        for key, value in content.items():
            if not isinstance(value, dict):
                raise DataError(f"{path}: {key} is {type(value).__name__}, not a question")
            yield str(path), str(key), files.nfc(value)


def _read(place: Place) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if place.path.startswith(HUB):
        source = Source(path=place.path, revision=place.revision, subset=place.subset, split=place.split)
        source.check("data")
        where, numbered = sources.stream(source)
        yield from ((f"{where}: row {number}", row) for number, row in numbered)
        return
    for path in place.files():
        for number, row in sources.READERS[path.suffix.lower()](path):
            yield f"{path}: row {number}", row


def text(where: str, row: Mapping[str, Any], *fields: str) -> None:
    """Refuse a row in which one of the fields is no text.

    Raises:
        DataError: it is not.
    """
    for field in fields:
        if not isinstance(row[field], str) or not row[field].strip():
            raise DataError(f"{where}: {field} is {row[field]!r:.60}, not text")


def one_of(where: str, field: str, value: Any, known: Sequence[Any]) -> None:
    """Refuse a value that the benchmark does not have.

    Raises:
        DataError: it is none of the known ones.
    """
    if value not in known:
        raise DataError(f"{where}: {field} is {value!r:.60}; it must be one of {', '.join(map(str, known))}")
