"""TRL's collator with one key more: the layout of the same pairs in one row."""

from typing import Any

from trl.trainer.dpo_trainer import DataCollatorForPreference

from kalign.training.shared_prefix.layout import laid_out

KEY = "shared_prefix"  # TRL hands every key that it does not know to the model


class PairCollator(DataCollatorForPreference):
    """TRL's padded batch, which its losses and metrics read, and beside it the row that the model runs.

    A batch in which a pair has no prompt, or in which rows are cut at their beginning, gets no layout, and
    takes TRL's own way.
    """

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """The batch of some pairs."""
        batch: dict[str, Any] = super().torch_call(examples)
        if self.max_length is None or self.truncation_mode == "keep_start":
            layout = laid_out(examples, longest=batch["input_ids"].shape[1], max_length=self.max_length)
            if layout is not None:
                batch[KEY] = layout
        return batch
