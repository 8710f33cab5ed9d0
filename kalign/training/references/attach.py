"""Giving a training its reference log-probs from the store, so that no step computes them."""

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow
from accelerate import PartialState
from datasets import Dataset

from kalign import files
from kalign.config import Loss
from kalign.errors import IntegrityError
from kalign.training import ranks
from kalign.training.references.fill import fill
from kalign.training.references.scoring import Scorer
from kalign.training.references.store import Pair, Store, key_of
from kalign.training.trainer import PairTrainer

CHECKED = 16  # pairs that are scored again at each start
# How far a sum may be off for each of its tokens, in nats: what other shapes of batches round differently
ROUNDING = {"float32": 1e-5, "bfloat16": 1e-2, "float16": 1e-2}
COLUMNS = ("ref_chosen_logps", "ref_rejected_logps")  # by TRL's names


@dataclass(frozen=True, kw_only=True)
class Used:
    """How many pairs were scored anew, found in the store, and scored again to check it."""

    computed: int
    reused: int
    checked: int
    path: Path

    def sentence(self) -> str:
        """One line about it, for a screen."""
        checked = f"; {self.checked} of them scored again, and the same" if self.checked else ""
        return (
            f"Reference log-probs: {self.computed:,} pairs scored, {self.reused:,} reused from {self.path}"
            f"{checked}"
        )


def use(
    trainer: PairTrainer,
    store: Store,
    *,
    kept: Path,
    loss: Loss,
    dtype: str,
) -> Used:
    """Let the trainer read its reference from the store, which is filled first; all processes call it.

    Args:
        kept: a folder of the run, which keeps the numbers that it trained with: a resumed run ends with the
            same weights even if the store is gone.
        dtype: in which the model computes.

    Raises:
        IntegrityError: the store or the run holds other numbers than the model gives now.
    """
    ld_alpha = loss.ld_alpha
    sets = [one for one in (trainer.train_dataset, trainer.eval_dataset) if one is not None]
    pairs: list[Pair] = [row for one in sets for row in one.select_columns(_tokens(one)).to_list()]
    scorer = of_trainer(trainer)
    main = PartialState().is_main_process
    name = sha256(f"{store.key} {ld_alpha} {[key_of(pair) for pair in pairs]}".encode()).hexdigest()
    path = kept / f"references-{name[:16]}.parquet"
    resumed = path.exists()
    ranks.wait()  # before the first process writes it
    computed = 0 if resumed else fill(store, scorer, pairs)
    checked = 0
    if main:
        if not resumed:
            _keep(path, store, pairs, ld_alpha)
        if computed < len(pairs):
            checked = _check(scorer, pairs, _sums(path), ld_alpha, dtype, path if resumed else store.path)
    ranks.wait()
    _attach(trainer, _sums(path))
    return Used(computed=computed, reused=len(pairs) - computed, checked=checked, path=store.path)


def of_trainer(trainer: PairTrainer) -> Scorer:
    """The trainer's own model, collator and precision."""
    autocast: Callable[[], AbstractContextManager[Any]] = trainer.accelerator.autocast
    return Scorer(
        model=trainer.accelerator.unwrap_model(trainer.model),
        collate=trainer.data_collator,
        autocast=autocast,
        shared=trainer.stock_because is None,
    )


def _tokens(dataset: Dataset) -> list[str]:
    return [name for name in ("prompt_ids", "chosen_ids", "rejected_ids") if name in dataset.column_names]


def _keep(path: Path, store: Store, pairs: Sequence[Pair], ld_alpha: float | None) -> None:
    keys = [key_of(pair) for pair in pairs]
    found = store.read(set(keys))
    rows = [dict(zip(COLUMNS, found[key].sums(ld_alpha), strict=True)) for key in keys]
    files.write_parquet(path, rows, dict.fromkeys(COLUMNS, pyarrow.float64()))


def _sums(path: Path) -> list[tuple[float, float]]:
    return [(row[COLUMNS[0]], row[COLUMNS[1]]) for _, row in files.read_parquet(path)]


def _attach(trainer: PairTrainer, sums: Sequence[tuple[float, float]]) -> None:
    train = len(trainer.train_dataset)
    trainer.train_dataset = _with(trainer.train_dataset, sums[:train])
    if trainer.eval_dataset is not None:
        trainer.eval_dataset = _with(trainer.eval_dataset, sums[train:])
    trainer.precompute_ref_logps = True  # TRL reads the columns, and never asks the reference


def _with(dataset: Dataset, sums: Sequence[tuple[float, float]]) -> Dataset:
    for number, name in enumerate(COLUMNS):
        dataset = dataset.add_column(name, [one[number] for one in sums])
    return dataset


def _check(
    scorer: Scorer,
    pairs: Sequence[Pair],
    sums: Sequence[tuple[float, float]],
    ld_alpha: float | None,
    dtype: str,
    path: Path,
) -> int:
    """Score some pairs again.

    Raises:
        IntegrityError: one is not what was kept.
    """
    places = random.sample(range(len(pairs)), min(CHECKED, len(pairs)))
    some = [pairs[place] for place in places]
    for batch in scorer.batches(some):
        again = scorer.logps([some[number] for number in batch])
        for number, scored in zip(batch, again, strict=True):
            noted, now = sums[places[number]], scored.sums(ld_alpha)
            lengths = (len(scored.chosen), len(scored.rejected))
            for kept, found, length in zip(noted, now, lengths, strict=True):
                if not abs(kept - found) <= ROUNDING[dtype] * length + 2e-6 * abs(found):
                    raise IntegrityError(
                        f"{path} says {kept:.6f} of an answer of {length} tokens, but the reference gives "
                        f"{found:.6f}; remove the file, and it is made again"
                    )
    return len(places)
