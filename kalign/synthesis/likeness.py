"""Which prompts are one: equal without spaces and marks, or alike by MinHash; what nothing may be like."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

from datasketch import MinHash

from kalign.synthesis.sketches import PERMUTATIONS, Sketches

GRAM = 3  # letters: a syllable script says as much in three as an alphabet in seven
MARKS = re.compile(r"[\W_]+")


def normal(text: str) -> str:
    """The letters and digits of a text, in one case and width: texts that differ in spaces and marks are one.

    >>> normal("How  much?") == normal("how MUCH")
    True
    """
    return MARKS.sub("", unicodedata.normalize("NFKC", text).casefold())


class Likeness:
    """Prompts in the order in which they came; the first of two that are alike stays.

    Args:
        similarity: Jaccard similarity of their runs of letters from which two are alike.
        gram_length: characters of a run that a prompt may not share with what is held out, as written or with
            letters alone.
    """

    def __init__(self, similarity: float, *, gram_length: int) -> None:
        self._gram_length = gram_length
        self._known = Sketches(similarity)
        self._runs: set[str] = set()
        self._held_out = Sketches(similarity)

    def hold_out(self, prompts: Iterable[str]) -> None:
        """Remember prompts that nothing may be like."""
        for prompt in prompts:
            text = normal(prompt)
            self._runs.update(_runs(prompt, self._gram_length))
            if not self._held_out.has(text):
                self._held_out.add(text, _sketch(text))

    def fault(self, prompt: str) -> str:
        """Why a prompt may not be taken: held_out, duplicate or near_duplicate; empty if it may."""
        text = normal(prompt)
        if self._held_out.has(text) or not self._runs.isdisjoint(_runs(prompt, self._gram_length)):
            return "held_out"
        sketch = _sketch(text)
        if self._held_out.alike(sketch):
            return "held_out"
        if self._known.has(text):
            return "duplicate"
        return "near_duplicate" if self._known.alike(sketch) else ""

    def take(self, prompt: str) -> None:
        """Remember a prompt that was taken."""
        text = normal(prompt)
        if not self._known.has(text):
            self._known.add(text, _sketch(text))


def _sketch(text: str) -> MinHash:
    sketch = MinHash(num_perm=PERMUTATIONS, seed=1)
    grams: Sequence[str] = [text[at : at + GRAM] for at in range(max(1, len(text) - GRAM + 1))]
    sketch.update_batch([gram.encode() for gram in sorted(set(grams))])
    return sketch


def _runs(prompt: str, length: int) -> set[str]:
    """The runs of a prompt as it is written, and with its letters alone: marks and spaces hide nothing."""
    spaced = " ".join(unicodedata.normalize("NFKC", prompt).split())
    forms = (spaced, normal(prompt))
    return {text[at : at + length] for text in forms for at in range(len(text) - length + 1)}
