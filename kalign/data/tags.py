"""Cultural tags of texts: what they hold, the key that joins them to a text, and the file they lie in.

A sidecar is written by `kalign tag` beside a corpus, which itself is never changed.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from kalign import files
from kalign.config.markers import DIMENSIONS as DIMENSIONS
from kalign.errors import DataError
from kalign.records import Message

LISTS = ("culture", "geo")
OK = "ok"
COLUMNS = (
    "sample_id",
    "source_dataset",
    "stage",
    "row",
    "text_sha256",
    *DIMENSIONS,
    "lang_prob",
    "confidence",
    "status",
    "tagger",
    "tagger_version",
    "prompt_hash",
    "raw",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags:
    """What a tagger found in one text. `culture` and `geo` may be empty: then there is nothing to find."""

    culture: tuple[str, ...] = ()
    domain: str = "Unspecified"
    task: str = "Unspecified"
    geo: tuple[str, ...] = ()  # ISO 3166-1 alpha-2
    lang: str = "und"
    status: str = OK  # unparsed, refused or too_long: nothing is known, and the other fields say nothing

    def values(self, dimension: str) -> tuple[str, ...]:
        """All values of one dimension, at least one: what is empty is `none`.

        >>> Tags(culture=("knowledge",)).values("culture"), Tags().values("geo"), Tags().values("lang")
        (('knowledge',), ('none',), ('und',))
        """
        value = getattr(self, dimension)  # one of DIMENSIONS
        if dimension in LISTS:
            return tuple(value) or ("none",)
        return (str(value),)


def key(text: str) -> str:
    """The name of a text in a sidecar: white space at its ends and its Unicode form do not matter.

    >>> key(" Hello ") == key("Hello")
    True
    """
    return sha256(unicodedata.normalize("NFC", text.strip()).encode()).hexdigest()


def asked(turns: Sequence[Message]) -> str:
    """The text that is tagged of a conversation: all that comes before the last answer, one turn a line."""
    last = max((place for place, turn in enumerate(turns, start=1) if turn.role != "assistant"), default=0)
    return "\n".join(turn.content.strip() for turn in turns[:last])


def of_row(row: Mapping[str, Any]) -> Tags:
    """The tags that a row of a sidecar holds."""
    return Tags(
        culture=tuple(row["culture"]),
        domain=row["domain"],
        task=row["task"],
        geo=tuple(row["geo"]),
        lang=row["lang"],
        status=row["status"],
    )


def read(path: Path) -> dict[str, Tags]:
    """The tags of a sidecar by the key of their text; a folder means the tags.parquet in it.

    Raises:
        DataError: it cannot be read, or is no sidecar.
    """
    place = sidecar(path)
    found: dict[str, Tags] = {}
    shared: dict[Tags, Tags] = {}  # most texts have the tags of another one
    for number, row in files.read_parquet(place):
        if number == 1 and (missing := {"text_sha256", "status", *DIMENSIONS} - row.keys()):
            raise DataError(
                f"{place} is no file of tags: there is no column {sorted(missing)[0]}; kalign tag writes one"
            )
        tags = of_row(row)
        found[row["text_sha256"]] = shared.setdefault(tags, tags)
    return found


def sidecar(path: Path) -> Path:
    """The file that holds the tags: `path`, or tags.parquet in the folder `path`."""
    place = path.expanduser()
    return place / "tags.parquet" if place.is_dir() else place
