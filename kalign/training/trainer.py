"""TRL's DPOTrainer with four seams: our tokens go in untouched, our order decides the batches, pairs share
their prompt, no loss passes unseen.

The loss, the metrics and the loop stay TRL's. `_prepare_dataset` is private to TRL: a test fails when an
upgrade stops calling it.
"""

from pathlib import Path
from typing import Any

from accelerate.data_loader import prepare_data_loader
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.modeling_layers import GradientCheckpointingLayer
from trl import DPOTrainer

from kalign.training import adapters, fused_lora, head, micro_batches, shared_prefix
from kalign.training.micro_batches import MicroBatches, Plan
from kalign.training.order import Epochs, StepOrder
from kalign.training.shared_prefix import PairCollator
from kalign.training.steady import Steady

__all__ = ["Epochs", "PairTrainer", "StepOrder", "Unlogged"]


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
        plan: how steps are dealt into micro-batches by their tokens; without one, they are as
            `per_device_train_batch_size` says.
        fuse: run adapted layers in one product; `fused` says which are.
    """

    data_collator: Any
    order: StepOrder

    def __init__(
        self,
        *arguments: Any,
        order: StepOrder,
        share_prefix: bool = True,
        plan: Plan | None = None,
        fuse: bool = True,
        **options: Any,
    ) -> None:
        self.order = order
        self.plan = plan
        self.checkpoint_every = 1  # with checkpointing: one layer of so many
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
        # DeepSpeed fills weights when their own module is called, which one product never does
        self.fused = fused_lora.install(self.model) if fuse and not self.is_deepspeed_enabled else None
        if self.args.bf16:
            adapters.leave_inputs_alone(self.model)
        self.hold_in_float32()

    def _prepare_dataset(self, dataset: Dataset, *arguments: Any, **options: Any) -> Dataset:
        return dataset  # TRL would tokenise again

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> StepOrder:
        return self.order

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The pairs in our order; with a plan, in micro-batches that only this process is given."""
        if self.plan is None:
            usual: DataLoader[Any] = super().get_train_dataloader()
            return usual
        batches = MicroBatches(self.plan, self.order, rank=self.accelerator.process_index)
        loader = DataLoader(
            self.train_dataset,
            batch_sampler=batches,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )
        return self._whole(loader)

    def recompute(self, every: int) -> None:
        """Mark one decoder layer of `every` to be computed again in the backward pass; none with 0."""
        decoder = self.accelerator.unwrap_model(self.model).get_base_model().get_decoder()
        layers = [one for one in decoder.modules() if isinstance(one, GradientCheckpointingLayer)]
        for number, layer in enumerate(layers):
            layer.gradient_checkpointing = every > 0 and number % every == 0

    def compute_loss(self, *arguments: Any, **options: Any) -> Any:
        """TRL's loss; with a plan, it and TRL's metrics count in training for the share of their pairs."""
        if self.checkpoint_every > 1 and self.model.training:
            self.recompute(self.checkpoint_every)  # TRL's reference pass has marked every layer
        result = super().compute_loss(*arguments, **options)
        if self.plan is None or not self.model.training:
            return result
        inputs = arguments[1] if len(arguments) > 1 else options["inputs"]
        pairs = len(inputs["input_ids"]) // 2
        weight = micro_batches.weight(pairs, self.plan, pairs_per_step=self.order.pairs_per_step)
        for name, values in self._metrics["train"].items():
            if name != "num_tokens":  # a sum, and no mean
                values[-1] *= weight
        return result * weight

    def get_eval_dataloader(self, eval_dataset: str | Dataset | None = None) -> DataLoader[Any]:
        """All held-out pairs on every device: in shards of unequal size, some pairs would count twice."""
        dataset = eval_dataset if isinstance(eval_dataset, Dataset) else self.eval_dataset
        loader = DataLoader(dataset, batch_size=self.args.eval_batch_size, collate_fn=self.data_collator)
        return self._whole(loader)

    def _whole(self, loader: DataLoader[Any]) -> DataLoader[Any]:
        """A loader that this process reads to its end, whatever the others do."""
        prepared: DataLoader[Any] = prepare_data_loader(
            loader, device=self.accelerator.device, num_processes=1, process_index=0, put_on_device=True
        )
        return prepared
