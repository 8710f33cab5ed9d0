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
from kalign.statistics.labels import macro_f1


def asked(recipe: Recipe, conversation: Sequence[Message]) -> tuple[Message, ...]:
    """A conversation as the model is asked it: in mode fixed, with the recipe's markers behind it."""
    markers = recipe.data.markers
    fixed = {name: (value,) for name, value in markers.fixed.items()} if markers.mode == "fixed" else {}
    return marking.behind_prompt(conversation, marking.spelled(fixed))


def compared(recipe: Recipe, pairs: Sequence[Pair], said: Sequence[str]) -> dict[str, Any] | None:
    """How many answers begin with markers, and how often they say what the tagger said of the prompt.

    Args:
        said: the answer to the prompt of each pair, with whatever markers it begins with.
    """
    markers = recipe.data.markers
    if recipe.data.tags is None:
        return None
    known = tags.read(Path(recipe.data.tags))
    read = [marking.read(answer) for answer in said]
    own = [marking.values(known[tags.key(text(each.triplet.prompt))], markers.dimensions) for each in pairs]
    inferred = markers.mode == "inferred"
    return {
        "arm": markers.arm,
        "mode": markers.mode,
        "answers": len(said),
        "answers_with_markers": sum(map(bool, read)),
        **(predicted(own, read) if inferred else {"exact": None, "accuracy": None, "macro_f1": None}),
    }


def predicted(own: Sequence[marking.Values], read: Sequence[marking.Values]) -> dict[str, Any]:
    """How often all markers that were written are right, how often each is, and the mean F1 over its values;
    with 95 % intervals. A text without known tags is left out.

    Args:
        own: what the tags of each text say.
        read: what the model wrote.
    """
    pairs = [(one, other) for one, other in zip(own, read, strict=True) if one]
    hits = [{name: set(other.get(name, ())) == set(one[name]) for name in one} for one, other in pairs]
    names = list(pairs[0][0]) if pairs else []
    scores = {
        name: macro_f1([one[name] for one, _ in pairs], [other.get(name, ()) for _, other in pairs])
        for name in names
    }
    return {
        "exact": asdict(wilson(sum(all(each.values()) for each in hits), len(hits))) if hits else None,
        "accuracy": {name: asdict(wilson(sum(each[name] for each in hits), len(hits))) for name in names},
        "macro_f1": {name: asdict(score) for name, score in scores.items() if score},
    }
