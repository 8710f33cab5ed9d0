"""What every trainer of TRL's is given: no loss passes unseen, a resumed training's curves have no seam."""

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch.distributed.fsdp import MixedPrecisionPolicy
from transformers import Trainer, TrainerState

from kalign import files
from kalign.errors import NumericError
from kalign.training import divided
from kalign.training.order import StepOrder


class Steady(Trainer):
    """Stands in front of a trainer of TRL's, whose `_metrics` and `_total_train_tokens` it keeps."""

    order: StepOrder | None = None  # None where TRL's own order decides

    def hold_in_float32(self) -> None:
        """Keep the trained weights in float32: TRL turns adapters on a quantised base into bfloat16, where
        small steps round to nothing (https://github.com/huggingface/peft/issues/2889)."""
        for weight in self.model.parameters():
            if weight.requires_grad:
                weight.data = weight.data.float()

    @property
    def divided(self) -> bool:
        """Whether no process holds the whole training: all score, answer and save together then."""
        return bool(self.is_fsdp_enabled or self.is_deepspeed_enabled)

    def keep_types(self) -> None:
        """Let FSDP leave every number in its type, as with whole models: autocast decides what is computed in
        bfloat16, and Accelerate's policy would round log-probs and gradients to it too."""
        if self.is_fsdp_enabled:
            self.accelerator.state.fsdp_plugin.mixed_precision_policy = MixedPrecisionPolicy()

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the adapter, whole; with a divided model all processes gather it, and the first writes."""
        if not self.divided:
            super().save_model(output_dir, _internal_call)
            return
        self._save(output_dir, state_dict=divided.gathered(self.model))

    def compute_loss(self, *arguments: Any, **options: Any) -> Any:
        """TRL's loss, refused when it is no number.

        Raises:
            NumericError: the loss is NaN or infinite; nothing was changed by it.
        """
        result = super().compute_loss(*arguments, **options)
        loss = result[0] if isinstance(result, tuple) else result
        if not torch.isfinite(loss).all():
            raise NumericError(
                f"the loss is {loss.item()} after step {self.state.global_step}; the last checkpoint is "
                "untouched. Lower "
                "trainer.learning_rate, or use model.dtype=float32 trainer.bf16=false to see whether the "
                "numbers overflow"
            )
        return result

    def _get_grad_norm(self, *arguments: Any, **options: Any) -> Any:
        """The norm of all gradients, refused when it is no number; DeepSpeed shows nothing else of them.

        Raises:
            NumericError: a gradient is NaN or infinite, or their norm overflows; such a step is never saved.
        """
        norm = super()._get_grad_norm(*arguments, **options)
        if norm is not None and not math.isfinite(norm):
            raise NumericError(
                f"the gradients' norm is {float(norm)} at step {self.state.global_step + 1}; the last "
                "checkpoint is untouched. Lower trainer.learning_rate, or use model.dtype=float32 "
                "trainer.bf16=false to see whether the numbers overflow"
            )
        return norm

    def _save_checkpoint(self, *arguments: Any, **options: Any) -> None:
        """The checkpoint, and what this process has not logged yet."""
        super()._save_checkpoint(*arguments, **options)
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        unlogged = {
            "loss": self._tr_loss.item(),
            "logged_at": self._globalstep_last_logged,
            "metrics": self._metrics["train"],
            "tokens": self._total_train_tokens,
        }
        files.write_json(folder / f"unlogged_{self.args.process_index}.json", unlogged)

    def restore_unlogged(self, folder: Path) -> None:
        """Go on with the sums that the next log is the mean of, so that curves have no seam."""
        path = folder / f"unlogged_{self.args.process_index}.json"
        unlogged = json.loads(path.read_text(encoding="utf-8"))
        self._tr_loss += unlogged["loss"]
        self._globalstep_last_logged = unlogged["logged_at"]
        self._metrics["train"].update(unlogged["metrics"])
        self._total_train_tokens = unlogged["tokens"]

    def restore(self, folder: Path) -> None:
        """Take weights and curves from a checkpoint, for a training that has no step left."""
        self.state = TrainerState.load_from_json(str(folder / "trainer_state.json"))
        if self.divided:
            self._prepare_for_training(self.state.max_steps, None, str(folder))  # divides, then loads
        else:
            self._load_from_checkpoint(str(folder))

    def create_model_card(self, *arguments: Any, **options: Any) -> None:
        """Write none: TRL's card would say less than the run folder does."""
