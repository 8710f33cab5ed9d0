"""Offices and telephone numbers, looked up by every name and number that they have or had."""

from collections.abc import Iterable
from functools import cached_property

from kalign.records import Institution


class Institutions:
    """All institutions of a pack, current and former ones."""

    def __init__(self, rows: Iterable[Institution]) -> None:
        self.rows = list(rows)

    @cached_property
    def by_name(self) -> dict[str, list[tuple[Institution, bool]]]:
        """(institution, whether the name is a former one) by name."""
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
