"""Markers around a model's answers: those that it is given, and those that it writes, which nobody scores."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kalign.config import Recipe
from kalign.data import marking, tags
from kalign.data.build import Pair
from kalign.records import Message, text
from kalign.statistics import wilson


def asked(recipe: Recipe, conversation: Sequence[Message]) -> tuple[Message, ...]:
    """A conversation as the model is asked it: in mode fixed, with the recipe's markers behind it."""
    markers = recipe.data.markers
    fixed = {name: (value,) for name, value in markers.fixed.items()} if markers.mode == "fixed" else {}
    return marking.behind_prompt(conversation, marking.spelled(fixed))


def compared(recipe: Recipe, pairs: Sequence[Pair], said: Sequence[str]) -> dict[str, Any] | None:
    """How many answers begin with markers, and how often each says what the tagger said of the prompt.

    Args:
        said: the answer to the prompt of each pair, with whatever markers it begins with.
    """
    markers = recipe.data.markers
    if recipe.data.tags is None:
        return None
    known = tags.read(Path(recipe.data.tags))
    read = [marking.read(answer) for answer in said]
    right: dict[str, list[bool]] = {}
    for pair, found in zip(pairs, read, strict=True):
        own = known[tags.key(text(pair.triplet.prompt))]
        for name, value in marking.values(own, markers.dimensions).items():
            right.setdefault(name, []).append(set(found.get(name, ())) == set(value))
    inferred = markers.mode == "inferred"
    return {
        "arm": markers.arm,
        "mode": markers.mode,
        "answers": len(said),
        "answers_with_markers": sum(map(bool, read)),
        "accuracy": {name: asdict(wilson(sum(hits), len(hits))) for name, hits in right.items()}
        if inferred
        else None,
    }
