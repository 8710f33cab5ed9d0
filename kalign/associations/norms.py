"""Association norms: which words people of a culture name for a cue, and how often; read from any known file.

| layout | columns | a row is |
|---|---|---|
| swow_en | cue, R1, R2, R3 (and about the participant) | one participant's answers, as in SWOW-EN and LWOW |
| swow_zh | Cue, R1, R2, R3 | the same, as in SWOW-ZH |
| swow_raw | Cue, R1Raw, R2Raw, R3Raw | answers before spelling was unified |
| strength | cue, response, R123 or R1 | a count, as in the strength files of both |
| edges | src, tgt, wt | a weighted edge, as in LWOW |
| table | those that `columns` names | either |
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kalign import files
from kalign.associations import tables
from kalign.config import Associations
from kalign.errors import ConfigError, DataError

BUNDLED = Path(__file__).parent / "bundled"
MASKED = re.compile(r"[0-9a-f]{32}")  # a politically sensitive item of SWOW-ZH
# Compared in lower case: what stands in a file where a participant named nothing that counts
MISSING = frozenset({"", "na", "no more responses", "no more response", "#missing"})
UNKNOWN = frozenset({"unknown word", "#unknown", "#long", "#symbol"})


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where a kind of file keeps cue, answers and counts, and under which licence its best-known data are."""

    cue: str
    responses: tuple[str, ...]
    count: str | None = None
    licence: str = "The licence of the norms is not known to kalign; read it before you pass anything on."


OWN = "The bundled norms are invented, and kalign's own (Apache-2.0)."
SWOW_EN = "If these are SWOW-EN data: CC BY-NC-ND 3.0, not to be redistributed, no commercial use."
SWOW_ZH = "If these are SWOW-ZH data: by registration at smallworldofwords.org, not to be passed on."
LAYOUTS: Mapping[str, Layout] = {
    "swow_zh": Layout(cue="Cue", responses=("R1", "R2", "R3"), licence=SWOW_ZH),
    "swow_en": Layout(cue="cue", responses=("R1", "R2", "R3"), licence=SWOW_EN),
    "swow_raw": Layout(cue="Cue", responses=("R1Raw", "R2Raw", "R3Raw"), licence=SWOW_ZH),
    "strength_r123": Layout(cue="cue", responses=("response",), count="R123", licence=SWOW_EN),
    "strength_r1": Layout(cue="cue", responses=("response",), count="R1", licence=SWOW_EN),
    "edges": Layout(cue="src", responses=("tgt",), count="wt"),
}


@dataclass(frozen=True, kw_only=True)
class Norms:
    """What a culture associates: cue → associate → how often, the most frequent first, ties by spelling.

    `trials` holds each row's answers as they were given, in order, without those that were dropped.
    """

    culture: str
    where: str
    sha256: str
    layout: str
    licence: str
    counts: Mapping[str, Mapping[str, int]]
    trials: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    facts: Mapping[str, int] = field(default_factory=dict)


def clean(word: str) -> str:
    """A word as it is compared: compatible characters unified, lower case, single blanks.

    >>> clean(" Mosquito  Net ")
    'mosquito net'
    """
    return " ".join(unicodedata.normalize("NFKC", word).lower().split())


def located(path: str) -> Path:
    """The file that `path` names; bundled:NAME is one of kalign's own.

    Raises:
        ConfigError: there is no such bundled file.
    """
    if not path.startswith("bundled:"):
        return Path(path).expanduser()
    place = BUNDLED / f"{path.removeprefix('bundled:')}.csv"
    if not place.is_file():
        known = ", ".join(f"bundled:{file.stem}" for file in sorted(BUNDLED.glob("*.csv")))
        raise ConfigError(f"{path} is not bundled; kalign has {known}")
    return place


def read(path: str, settings: Associations, *, culture: str | None = None) -> Norms:
    """The norms in a file, cleaned and counted.

    Args:
        settings: which layout the file has, and which of its rows count.
        culture: what the culture is called; None: as the settings say.

    Raises:
        ConfigError: the file is missing, or a setting names a column that it does not have.
        DataError: a row is malformed; the message starts `path:line`.
    """
    place = located(path)
    table = tables.read(place)
    name, layout = _layout(table.columns, settings, place)
    conditions = _conditions(settings.where, table.columns, place)
    facts: Counter[str] = Counter()
    counted: dict[str, Counter[str]] = {}
    trials = []
    for line, row in table.rows:
        if any(row[column] != value for column, value in conditions):
            facts["rows outside associations.where"] += 1
            continue
        facts["rows"] += 1
        cue = clean(row[layout.cue])
        if not cue:
            raise DataError(f"{place}:{line}: the cue is empty; every row names one")
        count = _count(row, layout, f"{place}:{line}")
        answers = tuple(_answers(row, layout, cue, facts))
        for answer in answers:
            counted.setdefault(cue, Counter())[answer] += count
        if answers:
            trials.append((cue, answers))
    if not counted:
        raise DataError(f"{place} holds no association that counts; look at associations.where")
    counts = {cue: _ordered(counted[cue]) for cue in sorted(counted)}
    facts |= {"cues": len(counts), "associations": sum(map(len, counts.values()))}
    return Norms(
        culture=culture or settings.culture,
        where=path,
        sha256=files.sha256(place),
        layout=name,
        licence=OWN if path.startswith("bundled:") else layout.licence,
        counts=counts,
        trials=trials,
        facts=dict(facts),
    )


def of_another(path: str, settings: Associations, *, culture: str, where: Sequence[str] = ()) -> Norms:
    """The norms of another culture, whose file has a layout and conditions of its own; raises as `read`."""
    return read(path, replace(settings, layout="auto", where=list(where)), culture=culture)


def _ordered(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _layout(columns: list[str], settings: Associations, place: Path) -> tuple[str, Layout]:
    """The layout that the settings name, or the first known one whose columns are all there.

    Raises:
        DataError: no known layout fits, or the named one does not.
    """
    if settings.layout == "table":
        own = settings.columns
        layout = Layout(cue=own.cue, responses=tuple(own.responses), count=own.count)
        candidates = {"table": layout}
    elif settings.layout == "auto":
        candidates = dict(LAYOUTS)
    else:
        candidates = {name: known for name, known in LAYOUTS.items() if name.startswith(settings.layout)}
    for name, layout in candidates.items():
        needed = {layout.cue, *layout.responses, *([layout.count] if layout.count else [])}
        if needed <= set(columns):
            return name, layout
    raise DataError(
        f"{place}:1: its columns are {', '.join(columns)}, which is not associations.layout="
        f"{settings.layout}; name them under associations.columns with associations.layout=table"
    )


def _conditions(where: list[str], columns: list[str], place: Path) -> list[tuple[str, str]]:
    conditions = []
    for condition in where:
        column, equals, value = condition.partition("=")
        if not equals or column not in columns:
            raise ConfigError(
                f"associations.where={condition!r} is no COLUMN=VALUE of {place}; its columns are "
                f"{', '.join(columns)}"
            )
        conditions.append((column, value))
    return conditions


def _count(row: Mapping[str, str], layout: Layout, where: str) -> int:
    if layout.count is None:
        return 1
    text = row[layout.count]
    if not re.fullmatch(r"\d+(\.0*)?", text):
        raise DataError(f"{where}: {layout.count} is {text!r}; a count is a whole number from 0 up")
    return int(text.partition(".")[0])


def _answers(row: Mapping[str, str], layout: Layout, cue: str, facts: Counter[str]) -> Iterator[str]:
    for column in layout.responses:
        answer = clean(row[column])
        if answer in MISSING:
            facts["dropped: missing"] += 1
        elif answer in UNKNOWN:
            facts["dropped: unknown"] += 1
        elif MASKED.fullmatch(answer):
            facts["dropped: masked"] += 1
        elif answer == cue:
            facts["dropped: the cue itself"] += 1
        else:
            yield answer
