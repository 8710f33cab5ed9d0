"""The pairs a training would see: counted and measured where the model's tokenizer is on this machine."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from huggingface_hub import try_to_load_from_cache

from kalign import packs
from kalign.config import Recipe
from kalign.data import build, sources
from kalign.data.build import Pair
from kalign.errors import DataError
from kalign.models import promises
from kalign.models.loading import Located
from kalign.training.planning.flops import Work

SHUFFLED_BY = 42


@dataclass(frozen=True, kw_only=True)
class Counted:
    """How many pairs there are and how long they are; where that is not known, the largest they may be."""

    train: int | None
    held_out: int | None
    work: Work
    longest: int  # tokens of the longest prompt with its longer answer
    scored: int  # tokens of the longest answer
    ledger: dict[str, Any] | None
    says: str  # what was counted, or why it was not
    refused: str | None = None  # why a training would stop at these data


def counted(recipe: Recipe, located: Located) -> Counted:
    """Read and tokenise the recipe's data, if both they and the tokenizer are here.

    Raises:
        DataError: a row is malformed.
        ConfigError: the rows may not train this model.
    """
    if not recipe.data.path and not recipe.data.mix:
        return _unknown(recipe, None, "data.path is not set, so nothing was counted")
    if not _tokenizer_is_here(located):
        rows = sum(len(sources.read(source).rows) for source in recipe.data.sources().values())
        return _unknown(
            recipe,
            rows,
            f"{rows:,} rows, not tokenised because the tokenizer of {located.name} is not on this machine: "
            "every answer is taken to fill data.max_length, and none to be dropped",
        )
    chat = promises.load_chat(recipe.model, located)
    letters = packs.load(recipe.pack).letters
    pairs = build.build(recipe.data, chat, letters=letters, model=recipe.model)
    refused = None
    try:
        build.require_acceptable(pairs, recipe.data)
    except DataError as wrong:
        refused = str(wrong)
    both = [*pairs.train, *pairs.held_out]
    limit = recipe.data.max_length
    return Counted(
        train=len(pairs.train),
        held_out=len(pairs.held_out),
        work=work(pairs.train, recipe.trainer.per_device_train_batch_size),
        longest=max((_row(pair) for pair in both), default=limit),
        scored=max((_answer(pair) for pair in both), default=limit),
        ledger=pairs.summary.as_dict(),
        says=f"{pairs.summary.rows:,} rows, read and tokenised",
        refused=refused,
    )


def work(pairs: Sequence[Pair], pairs_at_once: int) -> Work:
    """The mean work of a pair, when batches are drawn at random and padded to their longest row."""
    order = list(pairs)
    random.Random(SHUFFLED_BY).shuffle(order)
    padded = squared = 0
    for start in range(0, len(order), pairs_at_once):
        batch = order[start : start + pairs_at_once]
        row = max(map(_row, batch))
        padded += 2 * row * len(batch)
        squared += 2 * row**2 * len(batch)
    count = len(order) or 1
    scored = sum(len(pair.chosen_ids) + len(pair.rejected_ids) for pair in order)
    return Work(padded=padded / count, scored=scored / count, squared=squared / count)


def _unknown(recipe: Recipe, rows: int | None, says: str) -> Counted:
    length = recipe.data.max_length
    held = round(rows * recipe.data.eval_share) if rows is not None else None
    return Counted(
        train=None if rows is None or held is None else rows - held,
        held_out=held,
        work=Work(padded=2 * length, scored=2 * length, squared=2 * length**2),
        longest=length,
        scored=length,
        ledger=None,
        says=says,
    )


def _row(pair: Pair) -> int:
    return len(pair.prompt_ids) + _answer(pair)


def _answer(pair: Pair) -> int:
    return max(len(pair.chosen_ids), len(pair.rejected_ids))


def _tokenizer_is_here(located: Located) -> bool:
    if located.folder is not None:
        return (located.folder / "tokenizer.json").is_file()
    return isinstance(try_to_load_from_cache(located.name, "tokenizer.json", revision=located.revision), str)
