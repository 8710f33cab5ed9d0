"""What supervised fine-tuning learns from any source of pairs or answers: prompts, their chosen answers."""

import dataclasses
from collections.abc import Mapping

from kalign import packs
from kalign.config import Columns, Data, Recipe
from kalign.data import build
from kalign.data.examples import Example, Examples
from kalign.data.pairs import Pair
from kalign.models import loading, promises


def examples(recipe: Recipe) -> Examples:
    """What a recipe trains on and holds out: read, checked, weighed, marked and split as pairs are, but the
    worse answers are never read.

    Raises:
        KalignError: as `build.build`.
    """
    chat = promises.load_chat(recipe.model, loading.locate(recipe.model))
    letters = packs.load(recipe.pack).letters
    pairs = build.build(_answers_only(recipe.data), chat, letters=letters, model=recipe.model)
    families = {line.id: line.family for line in pairs.lines}
    return Examples(
        train=[_example(pair, families) for pair in pairs.train],
        held_out=[_example(pair, families) for pair in pairs.held_out],
        identity=pairs.identity,
        facts={},
        notice="Learned are the chosen answers of the data, whose licence is their owner's.",
        score=lambda example, answer: {},  # what an answer is worth is for a judge to say
        pairs=pairs,
    )


def _answers_only(data: Data) -> Data:
    mix = {
        name: dataclasses.replace(source, columns=_columns(source.columns))
        for name, source in data.mix.items()
    }
    return dataclasses.replace(data, columns=_columns(data.columns), mix=mix)


def _columns(columns: Columns) -> Columns:
    return dataclasses.replace(columns, rejected=None)


def _example(pair: Pair, families: Mapping[str, str]) -> Example:
    plain = pair.triplet
    return Example(
        id=plain.id,
        group=families[plain.id],
        prompt=plain.prompt,
        answer=plain.chosen[-1].content,
        pair=pair,
    )
