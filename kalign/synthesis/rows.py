"""Records in and out of JSON lines: what a stage writes, the next one or a user's own program reads."""

import dataclasses
import hashlib
import types
import typing
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, TypeVar, cast

from kalign import files
from kalign.errors import DataError

T = TypeVar("T")


def write(path: Path, records: Iterable[Any]) -> None:
    """Write records atomically, one a line."""
    files.write_jsonl(path, (dataclasses.asdict(record) for record in records))


def read(path: Path, kind: type[T]) -> Iterator[T]:
    """Yield the records of a file, which may be a user's own: what a record can do without may be missing.

    Raises:
        DataError: a row is none.
    """
    return (record(kind, row, f"{path}:{number}") for number, row in files.read_jsonl(path, own=True))


def numbered(path: Path, kind: type[T]) -> Iterator[tuple[int, T]]:
    """Yield the records with the numbers of their lines, by which `pick` finds them again."""
    for number, row in files.read_jsonl(path, own=True):
        yield number, record(kind, row, f"{path}:{number}")


def pick(path: Path, kind: type[T], numbers: Iterable[int]) -> Iterator[T]:
    """Yield the records of these lines, in the order of the numbers; only one of them is held."""
    with path.open("rb") as lines:
        starts = array("Q", accumulate(map(len, lines), initial=0))
        for number in numbers:
            lines.seek(starts[number - 1])
            where = f"{path}:{number}"
            text = lines.readline().decode("utf-8-sig").rstrip("\r\n")
            yield record(kind, files.parse_object(text, where), where)


def require_unique(path: Path) -> None:
    """Refuse a file in which two rows have one id; of each, eight bytes are held.

    Raises:
        DataError: there are such rows.
    """
    known = array("Q", (_hashed(row) for _, row in files.read_jsonl(path, own=True)))
    twice = {one for one, other in pairwise(sorted(known)) if one == other}
    seen: set[str] = set()
    for number, row in files.read_jsonl(path, own=True) if twice else ():
        if _hashed(row) in twice:
            name = str(row.get("id"))
            if name in seen:
                raise DataError(f"{path}:{number}: id {name} stands twice; give each row an id of its own")
            seen.add(name)


def _hashed(row: Mapping[str, Any]) -> int:
    return int.from_bytes(hashlib.sha256(str(row.get("id")).encode("utf-8")).digest()[:8], "big")


def record(kind: type[T], row: Any, where: str) -> T:
    """The record of that kind that a row describes.

    Raises:
        DataError: a key is missing or unknown, or a value of another type.
    """
    if not isinstance(row, Mapping):
        raise DataError(f"{where}: {type(row).__name__} where a {kind.__name__} should be")
    fields = _fields(cast(Any, kind))
    if unknown := [key for key in row if key not in fields]:
        raise DataError(
            f"{where}: {unknown[0]} is no key of a {kind.__name__}; its keys are {', '.join(fields)}"
        )
    hints = _hints(cast(Any, kind))
    values = {}
    for name, part in fields.items():
        if name in row:
            values[name] = _value(hints[name], row[name], f"{where}, {name}")
        elif part.default is dataclasses.MISSING and part.default_factory is dataclasses.MISSING:
            raise DataError(f"{where}: {name} is missing; a {kind.__name__} needs it")
    try:
        return kind(**values)
    except ValueError as wrong:
        raise DataError(f"{where}: {wrong}") from wrong


@cache
def _fields(kind: type[Any]) -> dict[str, Any]:
    return {part.name: part for part in dataclasses.fields(kind)}


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(cast(Any, kind))


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _of_union(inner, value, where)
    if origin is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise DataError(f"{where}: {type(value).__name__} where a list should be")
        return tuple(_value(inner[0], item, where) for item in value)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise DataError(f"{where}: {type(value).__name__} where an object should be")
        return {str(key): _value(inner[1], item, where) for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return record(cast(type, hint), value, where)
    return _plain(hint, value, where)


def _of_union(inner: Sequence[Any], value: Any, where: str) -> Any:
    if value is None and type(None) in inner:
        return None
    kinds = [one for one in inner if one is not type(None)]
    fitting = [one for one in kinds if one is type(value)]
    return _value((fitting or kinds)[0], value, where)


def _plain(hint: Any, value: Any, where: str) -> Any:
    if issubclass(hint, StrEnum):
        if value not in list(hint):
            raise DataError(f"{where}: {value!r:.40} is none of {', '.join(hint)}")
        return hint(value)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise DataError(f"{where}: {type(value).__name__} where {hint.__name__} should be")
    return value
