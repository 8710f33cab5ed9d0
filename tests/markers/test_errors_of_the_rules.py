"""How often the rules are wrong, on texts that were written for this and labelled.

labelled.csv has two halves. By the texts of `dev`, the lexicon was enlarged; those of `test` were written
afterwards, and nothing was changed by them. One person wrote and labelled them all, many on purpose without
the words that a lexicon would hold, so the figures are no estimate for a corpus: `kalign audit` makes one.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest

from kalign.data.tags import DIMENSIONS
from kalign.markers.rules import Rules
from kalign.markers.schema import TABLES, load
from kalign.statistics import wilson
from kalign.statistics.labels import by_label

Labels = list[list[str]]
# Recorded: change a table, and measure again. They stand in kalign/markers/tables/README.md too
RIGHT = {"culture": 31, "domain": 23, "task": 41, "geo": 40, "lang": 64}  # of 64, all values of a text
CULTURAL = {"found": 6, "of": 39, "false": 0}
COUNTRIES = {"found": 16, "of": 40, "false": 1}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with (Path(__file__).parent / "labelled.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def measured(rows: list[dict[str, str]]) -> dict[str, tuple[Labels, Labels]]:
    """What each text of the half that nothing was changed by has and was given, by dimension."""
    some = [row for row in rows if row["half"] == "test"]
    found = Rules()([row["text"] for row in some])
    return {
        dimension: (
            [_values(row[dimension]) for row in some],
            [[one for one in each.tags.values(dimension) if one != "none"] for each in found],
        )
        for dimension in DIMENSIONS
    }


def _values(cell: str) -> list[str]:
    return [value for value in cell.split("|") if value not in ("", "none")]


def test_the_labels_are_of_the_schema_and_every_class_is_there(rows: list[dict[str, str]]) -> None:
    known = load()
    for row in rows:
        for dimension in DIMENSIONS:
            assert all(value in known.values[dimension] for value in _values(row[dimension])), row
    assert len({row["text"] for row in rows}) == len(rows) == 196
    for half in ("dev", "test"):
        some = [row for row in rows if row["half"] == half]
        assert {row["lang"] for row in some} == {"en", "ko"}
        assert {row["culture"] for row in some} == {*known.values["culture"], "none"}
        assert {row["domain"] for row in some} == set(known.values["domain"])


def test_the_rules_are_wrong_as_often_as_is_recorded(measured: dict[str, tuple[Labels, Labels]]) -> None:
    right = {
        dimension: sum(set(one) == set(other) for one, other in zip(gold, given, strict=True))
        for dimension, (gold, given) in measured.items()
    }
    assert right == RIGHT
    cultural = [[["cultural"] if one else [] for one in side] for side in measured["culture"]]
    assert _counts(*cultural) == CULTURAL
    assert _counts(*measured["geo"]) == COUNTRIES
    told = (TABLES / "README.md").read_text(encoding="utf-8")
    for figures in (CULTURAL, COUNTRIES):
        recall = wilson(figures["found"], figures["of"])
        precision = wilson(figures["found"], figures["found"] + figures["false"])
        assert f"{precision} | {recall}" in told


def test_what_the_rules_call_cultural_is(measured: dict[str, tuple[Labels, Labels]]) -> None:
    """They miss much, but hardly ever see culture where there is none: a share by rules is a lower bound."""
    gold, given = measured["culture"]
    alarms = [one for one, other in zip(gold, given, strict=True) if other and not one]
    assert alarms == []
    found = by_label(gold, given)
    assert {name for name, each in found.items() if each.recall and each.recall.value < 0.5} == {
        *("knowledge", "preference", "dynamics", "general")
    }


def _counts(gold: Sequence[Sequence[str]], given: Sequence[Sequence[str]]) -> dict[str, int]:
    pairs = list(zip(gold, given, strict=True))
    return {
        "found": sum(len(set(one) & set(other)) for one, other in pairs),
        "of": sum(map(len, gold)),
        "false": sum(len(set(other) - set(one)) for one, other in pairs),
    }
