"""The closed sets that tags are drawn from, out of one versioned file."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from kalign import yaml_files
from kalign.data.tags import LISTS, Tags

TABLES = Path(__file__).parent / "tables"


@dataclass(frozen=True, kw_only=True)
class Schema:
    """Every value of every dimension, with its definition; `geo` are the codes of ISO 3166-1."""

    version: str
    values: Mapping[str, Mapping[str, str]]

    def wrong(self, tags: Tags) -> str | None:
        """What of the tags is outside the closed sets, as one clause; None where nothing is."""
        for dimension, known in self.values.items():
            for value in tags.values(dimension):
                if value not in known and not (value == "none" and dimension in LISTS):
                    return f"{dimension}={value} is not in schema {self.version}"
        return None


@cache
def load(folder: Path = TABLES) -> Schema:
    """The schema that this version of kalign tags by."""
    content: dict[str, Any] = yaml_files.read(folder / "schema.yaml")
    values: dict[str, dict[str, str]] = {name: dict(known) for name, known in content["dimensions"].items()}
    values["geo"] = countries()
    return Schema(version=str(content["version"]), values=values)


@cache
def countries() -> dict[str, str]:
    """The English name of each country and area of ISO 3166-1, by its two letters."""
    english = {code: name for lang, code, name in names() if lang == "en"}
    return {row[0]: english.get(row[0], row[0]) for row in _rows("countries.csv")}


def names() -> list[tuple[str, str, str]]:
    """What each country is called: language, two letters, name."""
    return [(row[0], row[1], row[2]) for row in _rows("country_names.csv")]


def digest() -> str:
    """A short hash of every table that the rules read: other tables tag otherwise."""
    paths = [
        path
        for path in sorted(TABLES.rglob("*"))
        if path.suffix in (".yaml", ".csv") and "maps" not in path.parts
    ]
    return sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()[:8]


def _rows(name: str) -> list[list[str]]:
    with (TABLES / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))[1:]
