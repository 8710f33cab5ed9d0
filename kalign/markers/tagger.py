"""What a tagger is: texts in, tags out, in batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from kalign.data.tags import Tags


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """The tags of one text, and what the tagger noted besides."""

    tags: Tags
    lang_prob: float | None = None  # share of what speaks for the language; no calibrated probability
    confidence: float | None = None
    raw: str | None = None  # what a model said, where it was not understood


class Tagger(Protocol):
    """Anything that tags texts; two with one name, version and prompt hash tag alike."""

    name: str
    version: str

    @property
    def prompt_hash(self) -> str | None:
        """Names what a model was told; None where none was asked."""

    def __call__(self, texts: Sequence[str]) -> list[Tagged]:
        """The tags of each text, in order."""
