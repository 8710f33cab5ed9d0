"""The order in which pairs are seen."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class StepOrder(Sampler[int]):
    """The order in which pairs are seen: shuffled anew each epoch, the same for every number of devices.

    An epoch is filled up to whole optimizer steps with pairs from its own beginning, so that no pair is left
    out and every step sees equally many; `epoch` is set before each epoch begins.

    Args:
        pairs: how many there are.
        pairs_per_step: how many one optimizer step sees over all devices.
    """

    def __init__(self, pairs: int, *, pairs_per_step: int, seed: int) -> None:
        self.pairs = pairs
        self.pairs_per_step = pairs_per_step
        self.seed = seed
        self.epoch = 0

    @property
    def repeated(self) -> int:
        """How many pairs are seen once more to fill the last step of an epoch."""
        return -self.pairs % self.pairs_per_step

    def sentence(self) -> str:
        """How often pairs are seen again within an epoch, for a screen; empty where none is."""
        if self.repeated > self.pairs:
            least, more = divmod(len(self), self.pairs)
            times = f"{least} or {least + 1}" if more else str(least)
            return f"each is seen {times} times an epoch, because there are fewer than a step takes"
        return (
            f"{self.repeated} of them are seen twice an epoch to fill its last step" if self.repeated else ""
        )

    def __len__(self) -> int:
        return self.pairs + self.repeated

    def __iter__(self) -> Iterator[int]:
        return iter(self.of(self.epoch))

    def of(self, epoch: int) -> list[int]:
        """The order of one epoch, which counts from 0."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(self.pairs, generator=generator).tolist()
        while len(order) < len(self):
            order += order[: len(self) - len(order)]
        return order


class Epochs(TrainerCallback):
    """Tells the order which epoch begins: Accelerate does not reach it when a resumed epoch begins in its
    middle."""

    def __init__(self, order: StepOrder) -> None:
        self.order = order

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Set the epoch that is about to be shuffled."""
        self.order.epoch = int(state.epoch or 0)
