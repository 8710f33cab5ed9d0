"""Offices and telephone numbers: what they are called, since when, and what they were called before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from kalign.errors import DataError

FIELDS = {
    "id",
    "name",
    "aliases",
    "former_names",
    "phone",
    "former_phones",
    "purpose",
    "valid_from",
    "valid_to",
    "replaced_by",
    "source",
    "verified_on",
    "confidence",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Institution:
    """An office or telephone line; what it is called holds from `valid_from` to the day before `valid_to`."""

    id: str
    name: str
    aliases: tuple[str, ...]
    former_names: tuple[str, ...]  # until the day before valid_from
    phone: str | None
    former_phones: tuple[str, ...]
    purpose: str
    valid_from: date | None  # None: since long, or not known
    valid_to: date | None
    replaced_by: tuple[str, ...]
    source: str
    verified_on: date | None  # None: never
    confidence: str  # confirmed or unconfirmed

    def exists(self, day: date) -> bool:
        """Whether it exists under its present names on that day."""
        return (self.valid_from is None or self.valid_from <= day) and (
            self.valid_to is None or day < self.valid_to
        )


@dataclass(frozen=True)
class Institutions:
    """All institutions of a pack, looked up by name, number or id."""

    rows: Sequence[Institution]

    @cached_property
    def by_id(self) -> dict[str, Institution]:
        """Every institution by its id."""
        return {row.id: row for row in self.rows}

    @cached_property
    def by_name(self) -> dict[str, list[tuple[Institution, bool]]]:
        """(institution, whether the name is a former one) by every name it has or had."""
        found: dict[str, list[tuple[Institution, bool]]] = {}
        for row in self.rows:
            for name in (row.name, *row.aliases):
                found.setdefault(name, []).append((row, False))
            for name in row.former_names:
                found.setdefault(name, []).append((row, True))
        return found

    @cached_property
    def by_phone(self) -> dict[str, list[tuple[Institution, bool]]]:
        """(institution, whether the number is a former one) by number."""
        found: dict[str, list[tuple[Institution, bool]]] = {}
        for row in self.rows:
            if row.phone:
                found.setdefault(row.phone, []).append((row, False))
            for phone in row.former_phones:
                found.setdefault(phone, []).append((row, True))
        return found

    def offered(self, day: date) -> list[Institution]:
        """Those that a generator may name on that day: confirmed ones that exist."""
        return [row for row in self.rows if row.confidence == "confirmed" and row.exists(day)]


def read(path: Path) -> Institutions:
    """Read a pack's `institutions.yaml`.

    Raises:
        DataError: it is missing, or a row lacks a field or has one too many.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as wrong:
        raise DataError(f"{path} cannot be read: {' '.join(str(wrong).split())}") from wrong
    if not isinstance(content, dict) or not isinstance(content.get("institutions"), list):
        raise DataError(f"{path} should hold a list under institutions:")
    return Institutions([_row(row, path) for row in content["institutions"]])


def _row(row: Mapping[str, Any], path: Path) -> Institution:
    where = f"{path}: {row.get('id') if isinstance(row, dict) else row!r:.60}"
    if not isinstance(row, dict) or set(row) != FIELDS:
        raise DataError(f"{where} should have exactly the fields {', '.join(sorted(FIELDS))}")
    if row["confidence"] not in ("confirmed", "unconfirmed"):
        raise DataError(f"{where}: confidence is {row['confidence']!r}; use confirmed or unconfirmed")
    for key in ("valid_from", "valid_to", "verified_on"):
        if row[key] is not None and not isinstance(row[key], date):
            raise DataError(f"{where}: {key} is {row[key]!r}; write a date such as 2026-10-02")
    name = row["name"]
    lists = {
        key: tuple(str(item) for item in row[key] or ())
        for key in ("aliases", "former_names", "former_phones", "replaced_by")
    }
    return Institution(
        id=str(row["id"]),
        name=str(next(iter(name.values())) if isinstance(name, dict) else name),
        phone=None if row["phone"] is None else str(row["phone"]),
        purpose=str(row["purpose"]),
        valid_from=row["valid_from"],
        valid_to=row["valid_to"],
        source=str(row["source"]),
        verified_on=row["verified_on"],
        confidence=row["confidence"],
        **lists,
    )
