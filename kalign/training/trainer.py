"""TRL's DPOTrainer with four seams: our tokens go in untouched, our order decides the batches, pairs share
their prompt, no loss passes unseen.

The loss, the metrics and the loop stay TRL's. `_prepare_dataset` is private to TRL: a test fails when an
upgrade stops calling it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from datasets import Dataset
from torch.utils.data import DataLoader, Sampler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import DPOTrainer

from kalign.training import adapters, head, shared_prefix
from kalign.training.shared_prefix import PairCollator
from kalign.training.steady import Steady


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

    def __len__(self) -> int:
        return self.pairs + self.repeated

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.pairs, generator=generator).tolist()
        while len(order) < len(self):
            order += order[: len(self) - len(order)]
        return iter(order)


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


class Unlogged(TrainerCallback):
    """Restores, when a training goes on, what was counted but not yet logged."""

    def __init__(self, trainer: Steady, resumed: Path) -> None:
        self.trainer = trainer
        self.resumed = resumed

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Restore it: by now the Trainer has set its sums to zero."""
        self.trainer.restore_unlogged(self.resumed)


class PairTrainer(Steady, DPOTrainer):
    """DPOTrainer on pairs that are tokenised already.

    Args:
        order: in which the pairs are seen.
        share_prefix: compute each prompt once, where that is exact; `stock_because` says why it is not.
    """

    data_collator: Any

    def __init__(self, *arguments: Any, order: StepOrder, share_prefix: bool = True, **options: Any) -> None:
        self.order = order
        super().__init__(*arguments, **options)
        self.keep_types()
        base = self.model.get_base_model()
        self.stock_because = shared_prefix.why_not(base) if share_prefix else "trainer.shared_prefix=false"
        if self.stock_because is None:
            unread = () if self.use_weighting else ("log_sum_sq_probs",)
            shared_prefix.install(base, extras=[name for name in head.EXTRAS if name not in unread])
            told = self.data_collator  # what TRL made of its arguments
            self.data_collator = PairCollator(
                pad_token_id=told.pad_token_id,
                max_length=told.max_length,
                truncation_mode=told.truncation_mode,
                pad_to_multiple_of=told.pad_to_multiple_of,
            )
        if self.args.bf16:
            adapters.leave_inputs_alone(self.model)
        # TRL turns adapters on a quantised base into bfloat16, where small steps round to nothing
        # (https://github.com/huggingface/peft/issues/2889); the master weights stay float32 here.
        for weight in self.model.parameters():
            if weight.requires_grad:
                weight.data = weight.data.float()

    def _prepare_dataset(self, dataset: Dataset, *arguments: Any, **options: Any) -> Dataset:
        return dataset  # TRL would tokenise again

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> StepOrder:
        return self.order

    def get_eval_dataloader(self, eval_dataset: str | Dataset | None = None) -> DataLoader[Any]:
        """All held-out pairs on every device: in shards of unequal size, some pairs would count twice."""
        dataset = eval_dataset if isinstance(eval_dataset, Dataset) else self.eval_dataset
        loader = DataLoader(dataset, batch_size=self.args.eval_batch_size, collate_fn=self.data_collator)
        prepared: DataLoader[Any] = prepare_data_loader(
            loader, device=self.accelerator.device, num_processes=1, process_index=0, put_on_device=True
        )
        return prepared
