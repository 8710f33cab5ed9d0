"""What a training on examples prints: its progress, and what changed on held-out ones."""

import json
import sys
from typing import Any

from rich.console import Console
from rich.table import Table
from transformers import ProgressCallback, TrainerControl, TrainerState, TrainingArguments

from kalign.runs import Run
from kalign.training import report

SHOWN = {"loss": "loss", "mean_token_accuracy": "accuracy", "reward": "reward", "kl": "KL"}


class Progress(ProgressCallback):
    """transformers' progress bar, with the few numbers that matter."""

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
        numbers = [(name, logs.get(prefix + key)) for key, name in SHOWN.items()]
        spelled = "  ".join(f"{name} {value:.4f}" for name, value in numbers if value is not None)
        if spelled:
            what = "held out" if prefix else "training"
            line = f"step {state.global_step:>4}/{state.max_steps}  {what}  {spelled}"
            self.training_bar.write(line, file=sys.stderr)


def say(run: Run, console: Console) -> None:
    """Print the table of a finished run, and where everything lies."""
    result = json.loads(run.result.read_text(encoding="utf-8"))
    changed = dict(result["held_out"])
    examples = changed.pop("examples")
    table = Table(title=f"Held-out examples ({examples}), with 95 % intervals", title_justify="left")
    for column in ("", "before", "after", "change"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for name, row in changed.items():
        table.add_row(name, *(_spelled(row[when]) for when in ("before", "after", "change")))
    console.print(table)
    report.print_answers(
        console,
        [
            {"prompt": each["group"], "before": each["before"], "after": each["after"]}
            for each in result["answers"]
        ],
    )
    console.print(
        f"Adapter: {run.adapter} ({result['steps']} steps, {result['seconds']:.0f} s)", soft_wrap=True
    )
    console.print(
        f"Curves: {run.history} · result: {run.result} · every answer: {run.answers}", soft_wrap=True
    )


def _spelled(estimate: dict[str, float]) -> str:
    return f"{estimate['value']:.2f} [{estimate['low']:.2f}, {estimate['high']:.2f}]"
