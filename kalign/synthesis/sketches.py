"""Texts and their MinHash sketches in a temporary file, so that an index of millions takes no memory."""

import hashlib
import sqlite3

import numpy
from datasketch import MinHash, MinHashLSH

PERMUTATIONS = 128
FINEST = (
    0.95  # above it datasketch finds no bands; more sketches are compared then, and the result is the same
)
LAYOUT = """
PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-8000;
CREATE TABLE text (hash BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE sketch (id INTEGER PRIMARY KEY, hashes BLOB);
CREATE TABLE band (hash BLOB, id INTEGER, PRIMARY KEY (hash, id)) WITHOUT ROWID;
"""


class Sketches:
    """Texts that were added: whether one is among them, and whether a sketch is alike one of theirs.

    Args:
        similarity: Jaccard similarity from which two sketches are alike.
    """

    def __init__(self, similarity: float) -> None:
        self._similarity = similarity
        best = MinHashLSH(threshold=min(similarity, FINEST), num_perm=PERMUTATIONS)
        self._bands, self._width = int(best.b), int(best.r)
        self._database = sqlite3.connect(
            "", isolation_level=None
        )  # SQLite removes the file when it is closed
        self._database.executescript(LAYOUT)

    def has(self, text: str) -> bool:
        """Whether this very text was added."""
        found = self._database.execute("SELECT 1 FROM text WHERE hash = ?", (_hash(text.encode()),))
        return found.fetchone() is not None

    def alike(self, sketch: MinHash) -> bool:
        """Whether a sketch that was added is as similar."""
        keys = self._keys(sketch)
        places = ",".join("?" * len(keys))
        near = self._database.execute(
            f"SELECT hashes FROM sketch WHERE id IN (SELECT id FROM band WHERE hash IN ({places}))",
            keys,
        )
        own = sketch.hashvalues
        return any(
            float(numpy.mean(numpy.frombuffer(hashes, own.dtype) == own)) >= self._similarity
            for (hashes,) in near
        )

    def add(self, text: str, sketch: MinHash) -> None:
        """Remember a text, which is not among them yet, and its sketch."""
        self._database.execute("INSERT INTO text VALUES (?)", (_hash(text.encode()),))
        added = self._database.execute(
            "INSERT INTO sketch (hashes) VALUES (?)", (sketch.hashvalues.tobytes(),)
        )
        rows = [(key, added.lastrowid) for key in self._keys(sketch)]
        self._database.executemany("INSERT INTO band VALUES (?, ?)", rows)

    def _keys(self, sketch: MinHash) -> list[bytes]:
        width = self._width
        return [
            _hash(bytes([band]) + sketch.hashvalues[band * width : (band + 1) * width].tobytes())
            for band in range(self._bands)
        ]


def _hash(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()[:16]
