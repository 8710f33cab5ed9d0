"""Which layers are computed again in the backward pass: no more of them than memory needs.

A layer that is computed again gives the same numbers, so the choice may differ between machines and between
the calls of one training. transformers can checkpoint every so manieth layer too, but TRL switches
checkpointing off and on around its reference, and forgets which layers were meant; so the layers' own flags
are set before every loss.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from kalign.config import Recipe
from kalign.config.launch import Profile
from kalign.models import shapes
from kalign.models.loading import Located
from kalign.training import checkpoints, ranks
from kalign.training.micro_batches import tokens_of
from kalign.training.planning import memory, plan
from kalign.training.planning.flops import Work
from kalign.training.planning.memory import CHECKPOINTED, GIB, OPTIMIZER_BYTES, Load
from kalign.training.planning.pairs import Counted
from kalign.training.trainer import PairTrainer

MEMINFO = Path("/proc/meminfo")
KEPT_FREE = 0.05  # of a GPU's memory, for fragments and what a probe does not see


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What `trainer.gradient_checkpointing=auto` came to."""

    every: int  # one layer of so many is recomputed; 0: none
    needed_bytes: int | None  # None where it did not fit
    limit_bytes: int
    known_by: str

    def sentence(self) -> str:
        """One line about it, for a screen."""
        what = {0: "no layer is computed again", 1: "every layer is computed again"}.get(
            self.every, f"one layer of {self.every} is computed again"
        )
        need = "more" if self.needed_bytes is None else f"{self.needed_bytes / GIB:.2f} GiB"
        return (
            f"Gradient checkpointing: {what}; by {self.known_by} that takes {need} of the "
            f"{self.limit_bytes / GIB:.2f} GiB that are there"
        )


def settle(recipe: Recipe, trainer: PairTrainer, located: Located) -> Choice:
    """Choose for this training and let its trainer do so; all processes call it, and choose alike."""
    probed = trainer.args.device.type == "cuda" and not trainer.divided
    own = _probed(trainer) if probed else _accounted(recipe, trainer, located)
    common = CHECKPOINTED[ranks.most(CHECKPOINTED.index(own.every))]
    trainer.checkpoint_every = common
    trainer.args.gradient_checkpointing = trainer.args.activation_checkpointing = common > 0
    if common == 0:
        base = trainer.model.get_base_model()
        base.gradient_checkpointing_disable()
        base.disable_input_require_grads()  # which TRL asked for
    return own if common == own.every else replace(own, every=common)


def _accounted(recipe: Recipe, trainer: PairTrainer, located: Located) -> Choice:
    """By the arithmetic of `kalign plan`, with this training's own pairs."""
    load = _load(recipe, trainer, located)
    if trainer.args.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info()
    else:
        free = _available() // ranks.on_this_machine()
    limit = free + memory.weights_bytes(load)  # which are there already
    chosen = memory.least_recomputed(load, limit)
    needed = memory.total(chosen)
    return Choice(
        every=chosen.checkpoint_every if chosen.gradient_checkpointing else 0,
        needed_bytes=needed if needed <= limit else None,
        limit_bytes=limit,
        known_by="the plan's account",
    )


def _available() -> int:
    """Bytes of this machine's memory that are free, or hold nothing that could not be read again."""
    if MEMINFO.exists():
        for line in MEMINFO.read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _load(recipe: Recipe, trainer: PairTrainer, located: Located) -> Load:
    config, known_from = shapes.configuration(located)
    several, count = trainer.divided, trainer.accelerator.num_processes
    rows = trainer.train_dataset.to_list()
    held = trainer.eval_dataset.to_list() if trainer.eval_dataset is not None else []
    answers = [max(len(row["chosen_ids"]), len(row["rejected_ids"])) for row in rows + held]
    counted = Counted(
        train=len(rows),
        held_out=len(held),
        work=Work(padded=0, scored=0, squared=0),
        longest=max(len(row["prompt_ids"]) + own for row, own in zip(rows + held, answers, strict=True)),
        scored=max(answers),
        ledger=None,
        says="",
    )
    load = plan.load_of(
        recipe,
        Profile(
            name="",
            ranks=count,
            divides_weights=several,
            divides_gradients=several,
            divides_optimizer=several,
        ),
        shapes.counted(config, known_from),
        shapes.adapted(config, recipe.adapter.lora()),
        counted,
    )
    if trainer.stock_because is None:
        load = memory.changed(load, row_tokens=sum(map(tokens_of, largest(trainer))))
    return load


def largest(trainer: PairTrainer) -> list[dict[str, Any]]:
    """Pairs that fill the largest micro-batch of a training: the longest ones."""
    rows = sorted(trainer.train_dataset.to_list(), key=tokens_of, reverse=True)
    if trainer.plan is None:
        return rows[: trainer.args.per_device_train_batch_size]
    some: list[dict[str, Any]] = []
    while rows and sum(map(tokens_of, some)) < trainer.plan.most:
        some.append(rows.pop(0))
    return some


def _probed(trainer: PairTrainer) -> Choice:
    """By running the largest micro-batch on the GPU, forth and back."""
    free, _ = torch.cuda.mem_get_info()
    limit = int((free + torch.cuda.memory_reserved()) * (1 - KEPT_FREE))
    several = trainer.accelerator.num_processes > 1
    trained = checkpoints.trained_weights(trainer.model)
    later = trained * (OPTIMIZER_BYTES.get(trainer.args.optim, 8) + (4 if several else 0))
    batch = trainer._prepare_inputs(trainer.data_collator(largest(trainer)))
    trainer.model.get_base_model().activation_checkpointing_enable(
        activation_checkpointing_kwargs=trainer.args.gradient_checkpointing_kwargs
    )
    needed = None
    for every in CHECKPOINTED:
        peak = _peak(trainer, dict(batch), every)
        if peak is not None and peak + later <= limit:
            needed = peak + later
            break
    return Choice(every=every, needed_bytes=needed, limit_bytes=limit, known_by="a probe step")


def _peak(trainer: PairTrainer, batch: dict[str, Any], every: int) -> int | None:
    """The most bytes that a forward and a backward pass hold; None if memory is not enough."""
    trainer.recompute(every)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    trainer.model.train()
    try:
        with torch.random.fork_rng(), trainer.accelerator.autocast():
            forth_and_back(trainer, batch)
    except torch.OutOfMemoryError:
        return None
    finally:
        trainer.model.zero_grad()
    return torch.cuda.max_memory_allocated()


def forth_and_back(trainer: PairTrainer, batch: dict[str, Any]) -> None:
    """What a step runs of a micro-batch; without stored log-probs the reference too, while the policy's
    activations are held."""
    labels = batch["input_ids"].masked_fill(batch.pop("completion_mask") == 0, -100)
    for name in ("ref_chosen_logps", "ref_rejected_logps"):
        batch.pop(name, None)
    given = {**batch, "labels": labels, "fused_lm_head": True, "use_cache": False}
    said = trainer.model(**given)
    if not trainer.precompute_ref_logps:
        with torch.no_grad(), trainer.model.disable_adapter():
            trainer.model(**given)
    said.log_probs.sum().backward()
