"""Corpora to be tagged: any data set that kalign reads, under declared columns, row by row."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

from kalign.config import Source
from kalign.config.rules import above, one_of
from kalign.data import sources, tags
from kalign.data.tags import Tags
from kalign.errors import ConfigError, DataError
from kalign.markers import schema
from kalign.records import Message

STAGES = ("pretrain", "sft", "alignment", "reasoning")
FIELDS = ("text", "id", *tags.DIMENSIONS)


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """One data set: where it lies, under which columns, and how much of it is read.

    `columns` says which column holds the text, the id, and tags that somebody else gave; `values` says what
    those tags are called here. A data set whose culture is declared needs no tagger.
    """

    name: str
    stage: str
    source: Source
    columns: Mapping[str, str] = field(default_factory=lambda: {"text": "prompt"})
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    share: float = 1.0  # of the rows, each decided by its own number
    seed: int = 42

    def check(self) -> None:
        """Raise ConfigError where the corpus contradicts itself."""
        where = f"stages.{self.stage}.{self.name}"
        one_of("stage", self.stage, STAGES)
        self.source.check(where)
        if "text" not in self.columns:
            raise ConfigError(
                f"{where}.columns names no text; say which column holds it, such as {{text: prompt}}"
            )
        for name in self.columns:
            one_of(f"{where}.columns", name, FIELDS)
        above(f"{where}.share", self.share, 0)
        if self.share > 1:
            raise ConfigError(f"{where}.share={self.share} is a share of the rows; use 1 or less")

    @property
    def tagged(self) -> bool:
        """Whether its rows say themselves what culture they hold."""
        return "culture" in self.columns

    def identity(self) -> dict[str, Any]:
        """What determines its samples: the data, and how they are read."""
        read = {key: value for key, value in asdict(self).items() if key != "source"}
        source = {key: getattr(self.source, key) for key in ("path", "revision", "subset", "split")}
        return {**read, **source, "sha256": sources.digest(self.source)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One row: its number, its text, and the tags it came with, if any."""

    row: int
    id: str
    text: str
    tags: Tags | None = None


def samples(corpus: Corpus) -> Iterator[Sample]:
    """The samples of a corpus, one after the other; nothing is kept in memory.

    Raises:
        ConfigError: its path names nothing that can be read.
        DataError: a row lacks a declared column, or holds something else in it.
    """
    where, numbered = sources.stream(corpus.source)
    for number, row in numbered:
        if corpus.share < 1 and _draw(corpus.seed, number) >= corpus.share:
            continue
        try:
            yield Sample(
                row=number,
                id=str(row.get(corpus.columns.get("id", "id")) or number),
                text=_text(_column(row, corpus.columns["text"])),
                tags=_tags(row, corpus) if corpus.tagged else None,
            )
        except ValueError as wrong:
            raise DataError(f"{where}:{number}: {wrong}") from wrong


def _draw(seed: int, number: int) -> float:
    return int.from_bytes(sha256(f"{seed}:{number}".encode()).digest()[:8]) / 2**64


def _column(row: Mapping[str, Any], name: str) -> Any:
    if name not in row:
        raise ValueError(f"there is no column {name!r}; there are {', '.join(row)}: name the right one")
    return row[name]


def _text(value: Any) -> str:
    """The text of a cell: as it stands, or of a conversation what comes before its last answer."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list) and all(isinstance(turn, dict) for turn in value):
        return tags.asked(
            [Message(role=str(turn.get("role")), content=turn.get("content", "")) for turn in value]
        )
    raise ValueError(f"its text is {type(value).__name__}, neither text nor a list of messages")


def _tags(row: Mapping[str, Any], corpus: Corpus) -> Tags:
    """The tags that a row came with, under our names.

    Raises:
        ValueError: a value is unknown; silence about it would be a share that is too small.
    """
    found: dict[str, Any] = {}
    for dimension in tags.DIMENSIONS:
        if dimension not in corpus.columns:
            continue
        value = _column(row, corpus.columns[dimension])
        several = value if isinstance(value, list) else [value]
        renamed = corpus.values.get(dimension, {})
        named = [renamed.get(str(each), str(each)) for each in several if each not in (None, "")]
        named = sorted({each for each in named if each != "none"})
        found[dimension] = tuple(named) if dimension in tags.LISTS else "".join(named[:1])
    known = Tags(**{key: value for key, value in found.items() if value != ""})
    if wrong := schema.load().wrong(known):
        raise ValueError(f"{wrong}; say under values what it is called here")
    return known


def batches(found: Iterable[Sample], size: int) -> Iterator[list[Sample]]:
    """The samples in lists of `size`, the last one shorter."""
    batch: list[Sample] = []
    for sample in found:
        batch.append(sample)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
