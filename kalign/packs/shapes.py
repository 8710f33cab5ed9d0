"""What a pack's files may hold: shapes as plain tables, and every deviation from them as a finding."""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from kalign import files, yaml_files
from kalign.errors import DataError

Content = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a pack: where, what, and how to mend it."""

    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.remedy}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key of a shape.

    Args:
        kind: a name in KINDS, or the shape of what lies under the key.
        many: a list of such shapes.
        required: False where the key may be left out.
        empty: True where it may be null, or an empty list.
    """

    kind: "str | Shape"
    many: bool = False
    required: bool = True
    empty: bool = False


Shape = Mapping[str, Key]


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _date(value: Any) -> bool:
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _text_by_name(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_text, value)) and all(map(_text, value.values()))


def _texts_by_name(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_text, value)) and all(map(_texts, value.values()))


def _checksum(value: Any) -> bool:
    keys = {"weights", "modulus", "from"}
    if not isinstance(value, dict) or set(value) != keys or not isinstance(value["weights"], list):
        return False
    numbers = [*value["weights"], value["modulus"], value["from"]]
    whole = all(isinstance(one, int) and not isinstance(one, bool) for one in numbers)
    return bool(value["weights"]) and whole and value["modulus"] > 0


KINDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "text": (_text, "write a text, in quotes where it looks like a number or like yes and no"),
    "texts": (_texts, "write a list of texts, such as [one, two]"),
    "date": (_date, "write a date of the calendar as YYYY-MM-DD"),
    "flag": (lambda value: isinstance(value, bool), "write true or false"),
    "count": (
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value > 0,
        "write a whole number above 0",
    ),
    "confidence": (lambda value: value in ("confirmed", "unconfirmed"), "write confirmed or unconfirmed"),
    "texts by name": (
        _texts_by_name,
        "write a list of texts under each name, such as {A.first: [one, two]}",
    ),
    "checksum": (
        _checksum,
        "write {weights: [2, 3, ...], modulus: 11, from: 11}: the check digit is (from - sum % modulus) % 10",
    ),
    "text by name": (_text_by_name, "write a text under each name, such as {P1: text, P2: text}"),
    "names": (_text_by_name, "write the text in each language, such as {en: text}"),
}


def faults(
    content: Any, shape: Shape, where: str, *, language: str, closed: bool = True
) -> Iterator[Finding]:
    """Every key of `content` that `shape` does not have, lacks, or wants otherwise.

    Args:
        language: what a name must at least be written in.
        closed: unknown keys are findings.
    """
    if not isinstance(content, dict):
        yield Finding(where, f"{_shown(content)} where keys should be", f"write the keys {', '.join(shape)}")
        return
    for key in content:
        if closed and key not in shape:
            near = difflib.get_close_matches(str(key), shape, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(shape)}"
            yield Finding(where, f"{key} is no key here", hint)
    for name, key in shape.items():
        if name not in content:
            if key.required:
                yield Finding(where, f"{name} is missing", _remedy(name, key))
        else:
            yield from _value_faults(content[name], key, where, name, language)


def _value_faults(value: Any, key: Key, where: str, name: str, language: str) -> Iterator[Finding]:
    inside = f"{where}.{name}" if not where.endswith((".yaml", ".jsonl")) else f"{where}: {name}"
    if value is None or value in ([], {}):
        if not key.empty:
            yield Finding(inside, "is empty", _remedy(name, key))
    elif not isinstance(key.kind, str):
        if key.many and not isinstance(value, list):
            yield Finding(inside, f"{_shown(value)} where a list should be", "begin each entry with '- '")
            return
        for number, entry in enumerate(value if key.many else [value]):
            place = f"{inside}[{_called(entry, number)}]" if key.many else inside
            yield from faults(entry, key.kind, place, language=language)
    else:
        fits, remedy = KINDS[key.kind]
        if not fits(value):
            yield Finding(inside, f"{_shown(value)} does not fit", remedy)
        elif key.kind == "names" and language not in value:
            yield Finding(
                inside, f"has no {language}, the pack's language", f"add it, such as {{{language}: text}}"
            )


def _called(entry: Any, number: int) -> str:
    name = entry.get("id") if isinstance(entry, dict) else None
    return name if isinstance(name, str) else str(number)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _remedy(name: str, key: Key) -> str:
    if isinstance(key.kind, str):
        return f"add {name}: {KINDS[key.kind][1]}"
    return f"add {name} with the keys {', '.join(key.kind)}"


def read(
    folder: Path, name: str, shape: Shape, *, language: str | None = None
) -> tuple[Content, list[Finding]]:
    """What the file `name` of a pack holds, every text in NFC, and what is wrong with its shape.

    Args:
        language: the pack's; None for the file that says it.
    """
    if not (folder / name).is_file():
        return {}, [Finding(name, "is missing", f"write it, with the keys {', '.join(shape)}")]
    try:
        content = files.nfc(yaml_files.read(folder / name))
    except DataError as wrong:
        return {}, [Finding(name, *halves(str(wrong).removeprefix(f"{folder / name} ")))]
    if language is None:
        language = str(content.get("language")) if isinstance(content, dict) else ""
    found = list(faults(content, shape, name, language=language))
    return content if isinstance(content, dict) else {}, found


def whole(content: Content, name: str, shape: Shape, *, language: str) -> list[Content]:
    """The entries of the list under `name` that have the shape; the others are findings already."""
    entries = content.get(name)
    if not isinstance(entries, list):
        return []
    return [one for one in entries if not any(faults(one, shape, name, language=language))]


def required(folder: Path, name: str, shape: Shape, *, language: str | None = None) -> Content:
    """The same content, of a file that must be right.

    Raises:
        DataError: it is not; the message says the file, the key, and how many findings there are.
    """
    content, found = read(folder, name, shape, language=language)
    raise_first(found, folder)
    return content


def raise_first(found: list[Finding], folder: Path) -> None:
    """Refuse what has findings, with the first one and the way to see them all.

    Raises:
        DataError: there is one.
    """
    if found:
        rest = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise DataError(f"{folder}/{found[0]}{rest}; kalign pack check {folder} lists every finding")


def halves(sentence: str) -> tuple[str, str]:
    """What is wrong and the remedy, of an error that says both."""
    what, _, remedy = sentence.partition("; ")
    return what, remedy or "mend the file"
