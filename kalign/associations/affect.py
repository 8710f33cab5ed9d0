"""How concrete and how pleasant associations are: medians over cues from lexicons, compared with people's."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

from scipy import stats

from kalign.associations import tables
from kalign.associations.norms import BUNDLED, clean
from kalign.errors import ConfigError, DataError
from kalign.statistics import holm

CONCRETE = 3.0  # of 1 to 5: from here on a word counts as concrete
FEWEST_PAIRS = 10  # that a test is made of


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Where a lexicon keeps one dimension, and how its numbers are brought to the scale that is reported.

    Args:
        inverted: the file's high end means the low one.
    """

    column: str
    low: float
    high: float
    to_low: float
    to_high: float
    inverted: bool = False

    def read(self, value: float) -> float:
        """A number of the file on the reported scale.

        >>> Scale(column="v", low=-3, high=3, to_low=1, to_high=9).read(0)
        5.0
        """
        share = (value - self.low) / (self.high - self.low)
        share = 1 - share if self.inverted else share
        return self.to_low + share * (self.to_high - self.to_low)


def scale(spelled: str) -> tuple[str, Scale]:
    """A dimension and its scale, as the command line writes them.

    >>> scale("concreteness=Conc.M:1:5:1:5")[0]
    'concreteness'

    Raises:
        ConfigError: it is not NAME=COLUMN:LOW:HIGH:TO_LOW:TO_HIGH[:inverted].
    """
    name, _, rest = spelled.partition("=")
    parts = rest.split(":")
    try:
        low, high, to_low, to_high = map(float, parts[1:5])
    except ValueError:
        parts = []
    if len(parts) not in (5, 6) or parts[5:] not in ([], ["inverted"]):
        raise ConfigError(
            f"{spelled!r} is no scale; write NAME=COLUMN:LOW:HIGH:TO_LOW:TO_HIGH, such as "
            "valence=V.Mean.Sum:1:9:1:9, and :inverted behind it where high means low"
        )
    return name, Scale(
        column=parts[0], low=low, high=high, to_low=to_low, to_high=to_high, inverted=len(parts) == 6
    )


def lexicon(path: str, word: str, scales: Mapping[str, Scale]) -> dict[str, dict[str, float]]:
    """Dimension → word → value, from one file.

    Raises:
        DataError: a column is missing, or a value is no number on the declared scale; with its line.
    """
    place = BUNDLED / f"{path.removeprefix('bundled:')}.tsv" if path.startswith("bundled:") else Path(path)
    table = tables.read(place.expanduser())
    for column in (word, *(scale.column for scale in scales.values())):
        if column not in table.columns:
            raise DataError(f"{place}:1: there is no column {column}; it has {', '.join(table.columns)}")
    found: dict[str, dict[str, float]] = {name: {} for name in scales}
    for line, row in table.rows:
        for name, scale in scales.items():
            try:
                value = float(row[scale.column])
            except ValueError:
                value = math.nan
            if not scale.low <= value <= scale.high:
                raise DataError(
                    f"{place}:{line}: {scale.column} is {row[scale.column]!r}, not "
                    f"{scale.low:g} to {scale.high:g}"
                )
            found[name][clean(row[word])] = scale.read(value)
    return found


def medians(
    lists: Sequence[Sequence[str]], values: Mapping[str, float], *, k: int = 10
) -> list[float | None]:
    """The median over the first k words of each list that the lexicon has; None where it has none."""
    found = []
    for words in lists:
        known = [values[word] for word in words[:k] if word in values]
        found.append(median(known) if known else None)
    return found


def coverage(lists: Sequence[Sequence[str]], values: Mapping[str, float], *, k: int = 10) -> dict[str, float]:
    """The shares of tokens and of different words that the lexicon has."""
    tokens = [word for words in lists for word in words[:k]]
    kinds = set(tokens)
    return {
        "tokens": sum(word in values for word in tokens) / max(1, len(tokens)),
        "types": sum(word in values for word in kinds) / max(1, len(kinds)),
    }


def concrete(lists: Sequence[Sequence[str]], values: Mapping[str, float], *, k: int = 10) -> dict[str, float]:
    """The shares of concrete, abstract and unknown words; unknown ones stay in the denominator."""
    tokens = [word for words in lists for word in words[:k]]
    known = [values[word] for word in tokens if word in values]
    total = max(1, len(tokens))
    above = sum(value >= CONCRETE for value in known)
    return {
        "concrete": above / total,
        "abstract": (len(known) - above) / total,
        "unknown": (len(tokens) - len(known)) / total,
    }


def wilcoxon(one: Sequence[float], other: Sequence[float], *, alternative: str = "two-sided") -> float | None:
    """The p-value of Wilcoxon's paired test; 1 where all pairs are equal, None for fewer than 10 pairs."""
    if len(one) < FEWEST_PAIRS:
        return None
    if list(one) == list(other):
        return 1.0
    return float(stats.wilcoxon(one, other, alternative=alternative).pvalue)


def compared(
    arms: Mapping[str, Sequence[Sequence[str]]],
    human: Sequence[Sequence[str]],
    lexicons: Mapping[str, Mapping[str, float]],
    *,
    base: str = "base",
    k: int = 10,
) -> dict[str, Any]:
    """Each arm's medians against people's: whether they differ, and whether the arm is closer than the base.

    Args:
        arms: each arm's list of words for every cue, in the order of `human`.

    Returns:
        Dimension → arm → mean of the medians, coverage and p-values; Holm's correction goes over all tests.
    """
    document: dict[str, Any] = {}
    tests: list[tuple[dict[str, Any], str, float]] = []
    for dimension, values in lexicons.items():
        people = medians(human, values, k=k)
        by_arm = {arm: medians(lists, values, k=k) for arm, lists in arms.items()}
        rows: dict[str, Any] = {"human": _summary(people, human, values, dimension, k=k)}
        for arm, lists in arms.items():
            rows[arm] = row = _summary(by_arm[arm], lists, values, dimension, k=k)
            for name, p in _tests(by_arm[arm], by_arm.get(base) if arm != base else None, people).items():
                tests.append((row, name, p))
        document[dimension] = rows
    for (row, name, p), adjusted in zip(tests, holm([p for _, _, p in tests]), strict=True):
        row[name] = {"p_value": p, "holm": adjusted}
    return document


def _summary(
    found: Sequence[float | None],
    lists: Sequence[Sequence[str]],
    values: Mapping[str, float],
    dimension: str,
    *,
    k: int,
) -> dict[str, Any]:
    known = [value for value in found if value is not None]
    row: dict[str, Any] = {
        "mean_of_medians": fmean(known) if known else None,
        "cues": len(known),
        "coverage": coverage(lists, values, k=k),
    }
    return row | ({"shares": concrete(lists, values, k=k)} if dimension == "concreteness" else {})


def _tests(
    arm: Sequence[float | None], base: Sequence[float | None] | None, people: Sequence[float | None]
) -> dict[str, float]:
    """p-values: of a difference from people; of the arm being closer to them than the base is."""
    pairs = [(a, h) for a, h in zip(arm, people, strict=True) if a is not None and h is not None]
    found = {"differs_from_human": wilcoxon([a for a, _ in pairs], [h for _, h in pairs])}
    if base is not None:
        triples = [
            (abs(b - h), abs(a - h))
            for a, b, h in zip(arm, base, people, strict=True)
            if a is not None and b is not None and h is not None
        ]
        found["closer_than_base"] = wilcoxon(
            [old for old, _ in triples], [new for _, new in triples], alternative="greater"
        )
    return {name: p for name, p in found.items() if p is not None}
