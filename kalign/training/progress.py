"""How far a training is, while it trains: a bar, and a line of a few numbers for each log."""

import sys
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm
from transformers import ProgressCallback, TrainerControl, TrainerState, TrainingArguments

SHOWN = {
    "loss": "loss",
    "rewards/margins": "margin",
    "rewards/accuracies": "accuracy",
    "panel/safe": "safe",
    "panel/benign_refused": "benign refused",
    "panel/tokens": "tokens",
}


class Progress(ProgressCallback):
    """transformers' progress bar, with the few numbers that matter instead of a dictionary in the middle of
    it.

    Args:
        shown: which numbers of a log, by their keys there, and the names they are shown under.
    """

    def __init__(self, shown: Mapping[str, str]) -> None:
        super().__init__()
        self.shown = shown

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Write one line for each log."""
        if not state.is_world_process_zero or self.training_bar is None or not logs:
            return
        prefix = "eval_" if "eval_loss" in logs else ""
        numbers = [(name, logs.get(prefix + key)) for key, name in self.shown.items()]
        spelled = "  ".join(f"{name} {value:.4f}" for name, value in numbers if value is not None)
        if spelled:
            what = "held out" if prefix else "panel" if "panel/safe" in logs else "training"
            line = f"step {state.global_step:>4}/{state.max_steps}  {what}  {spelled}"
            self.training_bar.write(line, file=sys.stderr)


def say_above_bar(sentence: str) -> None:
    """Print a sentence without breaking the progress bar."""
    tqdm.write(sentence, file=sys.stderr)
