"""Seeds that mean the same in other words: too close by the cosine of vectors that a model gives (optional).

The vectors are answers like any others: asked through the engine, kept in the ledger, paid for once.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy
from numpy.typing import NDArray

from kalign.errors import DataError
from kalign.providers import Request, vectors
from kalign.records import Message, Seed
from kalign.synthesis.work import Work

ROLE = "embedder"
CLOSE, HELD_OUT = "close", "held_out"
Vectors = NDArray[numpy.float32]


class Index:
    """Vectors of length one; they are held in memory, 4 bytes a number."""

    def __init__(self) -> None:
        self._rows: Vectors = numpy.empty((0, 0), numpy.float32)
        self._count = 0

    def add(self, vector: Vectors) -> None:
        """Remember one more.

        Raises:
            DataError: its length is another one.
        """
        self._require_length(vector)
        if self._count == len(self._rows):
            larger = numpy.empty((max(64, 2 * self._count), len(vector)), numpy.float32)
            if self._count:
                larger[: self._count] = self._rows
            self._rows = larger
        self._rows[self._count] = vector
        self._count += 1

    def nearest(self, vector: Vectors) -> float:
        """The largest cosine with one of them; -1 where there are none.

        Raises:
            DataError: its length is another one.
        """
        self._require_length(vector)
        return float((self._rows[: self._count] @ vector).max()) if self._count else -1.0

    def _require_length(self, vector: Vectors) -> None:
        if self._count and self._rows.shape[1] != len(vector):
            raise DataError(
                f"the model of seeds.embeddings gave vectors of {self._rows.shape[1]} and of {len(vector)} "
                "numbers; name one whose vectors have one length"
            )


def without_close(work: Work, seeds: Iterable[Seed]) -> Iterator[Seed]:
    """The seeds, with those dropped whose vector is too close to an earlier one's or to what is held out;
    all as they are, where no model of vectors is named."""
    if work.cast.embedder is None:
        return iter(seeds)
    return _checked(work, seeds)


def _checked(work: Work, seeds: Iterable[Seed]) -> Iterator[Seed]:
    held_out, kept = Index(), Index()
    for known in work.blocks(work.held_out(), lambda block: _vectors(work, block)):
        if not isinstance(known, str):  # a prompt without a vector is still held out by its letters
            held_out.add(known)
    most = work.pipeline.seeds.embedding_similarity
    for seed, vector in work.blocks(seeds, lambda block: _with_vectors(work, block)):
        if vector is None:
            yield seed
        elif isinstance(vector, str):
            yield replace(seed, dropped=f"embedding_{vector}")
        elif held_out.nearest(vector) >= most:
            yield replace(seed, dropped=HELD_OUT)
        elif kept.nearest(vector) >= most:
            yield replace(seed, dropped=CLOSE)
        else:
            kept.add(vector)
            yield seed


def _with_vectors(work: Work, seeds: Sequence[Seed]) -> list[tuple[Seed, "Vectors | str | None"]]:
    """Each seed with its vector, or why there is none; None for one that was dropped before."""
    found = iter(_vectors(work, [seed.prompt for seed in seeds if not seed.dropped]))
    return [(seed, None if seed.dropped else next(found)) for seed in seeds]


def _vectors(work: Work, texts: Sequence[str]) -> list["Vectors | str"]:
    assert work.cast.embedder
    requests = [
        Request(provider=work.cast.embedder, messages=(Message(role="user", content=text),), embedding=True)
        for text in texts
    ]
    return [_unit(answer.text) if answer.ok else answer.status.value for answer in work.ask(ROLE, requests)]


def _unit(text: str) -> Vectors:
    vector = numpy.frombuffer(vectors.unpacked(text), numpy.float32)
    return vector / numpy.linalg.norm(vector)
