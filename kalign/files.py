"""Files in and out: strict reading with line and byte in every error, atomic writing, hashes.

JSON lines are read by our own reader, because the usual ones pass over what matters here: duplicate keys,
NaN, lone surrogates, columns that change their type, and lines broken at U+2028.
"""

import csv
import errno
import hashlib
import io
import json
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from kalign.errors import DataError, ResourceError

LONGEST_LINE_BYTES = 4 * 1024 * 1024
LARGEST_JSON_BYTES = 1024 * 1024 * 1024
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Row = dict[str, Any]


def read_jsonl(path: Path, *, own: bool = False) -> Iterator[tuple[int, Row]]:
    """Yield (line number, object) of a JSON-lines file; blank lines are passed over, every text is NFC.

    Args:
        path: UTF-8, with or without byte-order mark; lines end with LF or CRLF and nothing else.
        own: the file was written by kalign, so a torn last line (a crash while appending) is left out.

    Raises:
        DataError: the file is missing or empty, or a line is not one such object; the message starts
            `path:line`.
    """
    seen = 0
    with _opened(path) as stream:
        number = 0
        while line := stream.readline(LONGEST_LINE_BYTES + 1):
            number += 1
            where = f"{path}:{number}"
            if len(line) > LONGEST_LINE_BYTES:
                raise DataError(
                    f"{where}: the line is longer than {LONGEST_LINE_BYTES >> 20} MiB; is this JSON lines?"
                )
            if own and not line.endswith(b"\n") and _torn(line):
                return
            text = _decoded(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line, where)
            if not text.strip():
                continue
            yield number, parse_object(text.rstrip("\r\n"), where)
            seen += 1
    if not seen and not own:
        raise DataError(f"{path} is empty; it should hold one JSON object a line")


def read_json(path: Path) -> Iterator[tuple[int, Row]]:
    """Yield (position from 1, object) of a JSON file that holds a list of objects.

    Raises:
        DataError: it is not such a list.
    """
    with _opened(path) as stream:
        if path.stat().st_size > LARGEST_JSON_BYTES:
            raise DataError(f"{path} is larger than {LARGEST_JSON_BYTES >> 30} GiB; write it as JSON lines")
        rows = _parsed(_decoded(stream.read().removeprefix(b"\xef\xbb\xbf"), str(path)), str(path))
    if not isinstance(rows, list):
        raise DataError(
            f"{path} holds {type(rows).__name__}, not a list of objects; use .jsonl for one object a line"
        )
    if not rows:
        raise DataError(f"{path} is an empty list; it should hold one object a row")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise DataError(f"{path}: row {number} is {type(row).__name__}, not an object")
        yield number, row


def read_csv(path: Path) -> Iterator[tuple[int, Row]]:
    """Yield (line number, row) of a CSV file whose first line names the columns.

    Raises:
        DataError: the file is empty, not UTF-8, or a row has more or fewer fields than there are columns.
    """
    with _opened(path) as stream:
        text = _decoded(stream.read().removeprefix(b"\xef\xbb\xbf"), str(path))
    csv.field_size_limit(LONGEST_LINE_BYTES)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)  # breaks at line ends only, not at U+2028
    try:
        header = next(reader, None)
        if not header:
            raise DataError(f"{path} is empty; its first line should name the columns")
        header = list(map(nfc, header))
        if twice := [name for name in header if header.count(name) > 1]:
            raise DataError(f"{path} names column {twice[0]!r} twice; name each once")
        seen = 0
        for fields in reader:
            if not fields:  # a blank line, as read_jsonl passes over
                continue
            if len(fields) != len(header):
                raise DataError(f"{path}:{reader.line_num}: {len(fields)} fields for {len(header)} columns")
            seen += 1
            yield reader.line_num, dict(zip(header, map(nfc, fields), strict=True))
    except csv.Error as wrong:
        raise DataError(f"{path}:{reader.line_num}: {wrong}") from wrong
    if not seen:
        raise DataError(f"{path} names columns, but has no rows")


def read_parquet(path: Path) -> Iterator[tuple[int, Row]]:
    """Yield (position from 1, row) of a parquet file.

    Raises:
        DataError: it is no parquet file, or has no rows.
    """
    import pyarrow
    import pyarrow.parquet

    with _opened(path):
        pass
    try:
        table = pyarrow.parquet.ParquetFile(path)
        number = 0
        for batch in table.iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield number, nfc(row)
    except pyarrow.ArrowException as wrong:
        raise DataError(f"{path} is no parquet file: {' '.join(str(wrong).split())}") from wrong
    if not number:
        raise DataError(f"{path} has no rows")


def write_parquet(path: Path, rows: Iterable[Mapping[str, Any]], columns: Mapping[str, Any]) -> None:
    """Write `rows` atomically; `columns` maps each name to a pyarrow type (by its alias, such as
    "string")."""
    import pyarrow
    import pyarrow.parquet

    fields = [
        pyarrow.field(name, pyarrow.type_for_alias(kind) if isinstance(kind, str) else kind)
        for name, kind in columns.items()
    ]
    table = pyarrow.Table.from_pylist([dict(row) for row in rows], schema=pyarrow.schema(fields))
    with atomic(path) as partial:
        pyarrow.parquet.write_table(table, partial)


def write_json(path: Path, content: Any) -> None:
    """Write one readable JSON document atomically; NaN is refused, because it would be no JSON."""
    with atomic(path) as partial:
        text = json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False, default=str)
        partial.write_text(text + "\n", encoding="utf-8")


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line, atomically."""
    with atomic(path) as partial, partial.open("w", encoding="utf-8") as lines:
        for row in rows:
            lines.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a partial file to write; it takes the name `path` only when it is complete and on disk.

    Raises:
        ResourceError: the disk is full, or nothing can be written there.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
    except OSError as wrong:
        raise_if_full(wrong, path)
        raise ResourceError(f"{path} cannot be written: {wrong.strerror}; name another place") from wrong
    try:
        yield partial
        flush(partial)
        partial.replace(path)
        flush(path.parent)
    except OSError as wrong:
        raise_if_full(wrong, path)
        raise
    finally:
        partial.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Wait until a file's or folder's bytes are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def raise_if_full(wrong: OSError, path: Path) -> None:
    """Say in one sentence that the disk is full, if that is what `wrong` means.

    Raises:
        ResourceError: it is.
    """
    if wrong.errno in FULL:
        raise ResourceError(
            f"no space left to write {path}; free some, or set runs_dir to another disk"
        ) from wrong


def sha256(path: Path) -> str:
    """The hash of a file's bytes; of a folder, that of all its files with their names."""
    digest = hashlib.sha256()
    if path.is_dir():
        for child in sorted(child for child in path.rglob("*") if child.is_file()):
            digest.update(f"{child.relative_to(path).as_posix()}\0{sha256(child)}\0".encode())
        return digest.hexdigest()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def parse_object(text: str, where: str) -> Row:
    """Parse one JSON object strictly, every text in NFC.

    Raises:
        DataError: it is none; the message starts with `where`.
    """
    content = _parsed(text, where)
    if not isinstance(content, dict):
        raise DataError(f"{where}: {type(content).__name__} where a JSON object should be")
    return content


def nfc(value: Any) -> Any:
    """The value with every text in it, at any depth, in Unicode's composed form."""
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, list):
        return [nfc(item) for item in value]
    if isinstance(value, dict):
        return {key: nfc(item) for key, item in value.items()}
    return value


def _parsed(text: str, where: str) -> Any:
    try:
        content = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_unique)
        text.encode("utf-8")
        json.dumps(content, ensure_ascii=False).encode("utf-8")  # finds lone surrogates, written as \ud800
        return nfc(content)
    except json.JSONDecodeError as wrong:
        place = f"{where}: " if wrong.lineno == 1 else f"{where}, line {wrong.lineno}: "
        raise DataError(f"{place}no JSON at column {wrong.colno} ({wrong.msg})") from wrong
    except RecursionError as wrong:
        raise DataError(f"{where}: nested too deeply") from wrong
    except UnicodeEncodeError as wrong:
        raise DataError(f"{where}: half of a surrogate pair, which is no character") from wrong
    except ValueError as wrong:
        raise DataError(f"{where}: {wrong}") from wrong


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> Row:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(
            f"key {next(name for name in names if names.count(name) > 1)!r} stands twice in one object"
        )
    return row


def _torn(line: bytes) -> bool:
    """Whether a last line is no JSON; it may end in the middle of a letter, too."""
    try:
        json.loads(line)
    except ValueError:
        return True
    return False


def _decoded(raw: bytes, where: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as wrong:
        line = raw.count(b"\n", 0, wrong.start) + 1
        place = where if b"\n" not in raw[:-1] else f"{where}:{line}"
        raise DataError(
            f"{place}: not UTF-8, byte 0x{raw[wrong.start]:02x}; save the file as UTF-8"
        ) from wrong


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        stream = path.open("rb")
    except FileNotFoundError as wrong:
        raise DataError(f"{path} does not exist; give the path of an existing file") from wrong
    except OSError as wrong:
        raise DataError(f"{path} cannot be read: {wrong.strerror}") from wrong
    with stream:
        yield stream
