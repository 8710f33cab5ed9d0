"""What sees that a training by preferences has collapsed, though each of its numbers is finite: every rule
compares means of a few logs, or looks of the panel, with a number of the recipe's `guards`."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from kalign import files
from kalign.config import Guards
from kalign.errors import NumericError
from kalign.runs import Run
from kalign.statistics import mcnemar
from kalign.training import ranks as waiting
from kalign.training.panel import Panel

Rows = Sequence[Mapping[str, Any]]
KEEPING = ("checkpoint", "stop")
LEVEL = 0.05  # of the test that must agree that more benign prompts are refused


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """A rule that holds no longer; `sentence` says what was seen, beside the rule's number."""

    rule: str
    sentence: str


def alarms(logs: Rows, looks: Rows, guards: Guards, *, beta: float) -> list[Alarm]:
    """Every rule that is broken.

    Args:
        logs: of the training, oldest first.
        looks: of the panel, oldest first, the first one at the base; may be empty.
        beta: by which TRL multiplies log-ratios to make them rewards.
    """
    rules: dict[str, Callable[[float], str | None]] = {}
    trained = [log for log in logs if "rewards/chosen" in log]
    if len(trained) >= guards.window:
        last = trained[-guards.window :]
        rules |= {"max_chosen_fall": partial(_fallen, last, beta), "max_margin": partial(_saturated, last)}
    if len(looks) > 1:
        first, now = looks[0], looks[-1]
        rules |= {
            "max_length_growth": partial(_longer, first, now),
            "max_cut_off_rise": partial(_endless, first, now),
            "max_benign_refused_rise": partial(_refusing, first, now),
        }
    limits = {rule: getattr(guards, rule) for rule in rules}
    return [
        Alarm(rule=rule, sentence=said)
        for rule, most in limits.items()
        if most is not None and (said := rules[rule](most))
    ]


def _fallen(logs: Rows, beta: float, most: float) -> str | None:
    change = fmean(log["rewards/chosen"] for log in logs) / beta
    reference = fmean(log["logps/chosen"] for log in logs) - change
    fall = -change / abs(reference) if reference else 0.0
    if not fall > most:
        return None
    return (
        f"chosen answers lost {fall:.2f} of their log-probability ({change:+.1f} nats each), "
        f"more than guards.max_chosen_fall={most:g}"
    )


def _saturated(logs: Rows, most: float) -> str | None:
    margin = fmean(log["rewards/margins"] for log in logs)
    if not margin > most:
        return None
    return (
        f"the reward margin is {margin:.1f}, beyond guards.max_margin={most:g}: the pairs teach "
        "nothing any more"
    )


def _longer(first: Mapping[str, Any], now: Mapping[str, Any], most: float) -> str | None:
    before, after = first["tokens"]["value"], now["tokens"]["value"]
    if not after > most * before:
        return None
    return (
        f"the panel's answers grew from {before:.0f} to {after:.0f} tokens, more than "
        f"guards.max_length_growth={most:g} times"
    )


def _endless(first: Mapping[str, Any], now: Mapping[str, Any], most: float) -> str | None:
    before, after = first["cut_off"]["value"], now["cut_off"]["value"]
    if not after - before > most:
        return None
    return (
        f"{after:.0%} of the panel's answers did not end by themselves, {before:.0%} before: "
        f"more than guards.max_cut_off_rise={most:g} above"
    )


def _refusing(first: Mapping[str, Any], now: Mapping[str, Any], most: float) -> str | None:
    pairs = [
        (old["answered"] is False, new["answered"] is False)
        for old, new in zip(first["answers"], now["answers"], strict=True)
        if new["kind"] == "benign"
    ]
    gained, lost = sum(not old and new for old, new in pairs), sum(old and not new for old, new in pairs)
    if not (gained - lost) / len(pairs) > most or mcnemar(gained, lost) >= LEVEL:
        return None
    return (
        f"{sum(new for _, new in pairs)} of {len(pairs)} benign prompts are refused, "
        f"{sum(old for old, _ in pairs)} before: a rise beyond guards.max_benign_refused_rise={most:g}"
    )


class Sentinel(TrainerCallback):
    """Looks at every log and every look of the panel, and does what `guards.collapse` says when a rule is
    broken that held before.

    Args:
        say: shows a sentence above the progress bar.
    """

    def __init__(
        self, guards: Guards, run: Run, *, beta: float, panel: Panel | None, say: Callable[[str], None]
    ) -> None:
        self.guards = guards
        self.run = run
        self.beta = beta
        self.panel = panel
        self.say = say
        self.written: list[dict[str, Any]] = []
        self.broken: set[str] = set()
        self.to_keep = False  # the next checkpoint

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Apply the rules, and ask for a checkpoint or an end where one is broken for the first time."""
        looks = self.panel.looks if self.panel else []
        found = alarms(state.log_history, looks, self.guards, beta=self.beta)
        new = [alarm for alarm in found if alarm.rule not in self.broken]
        if not new:
            return
        self.broken |= {alarm.rule for alarm in new}
        self.written += [
            {"step": state.global_step, "rule": alarm.rule, "sentence": alarm.sentence} for alarm in new
        ]
        if state.is_world_process_zero:
            files.write_jsonl(self.run.alarms, self.written)
            for alarm in new:
                self.say(f"step {state.global_step:>4}  collapse?  {alarm.sentence}")
        if self.guards.collapse in KEEPING:
            control.should_save = self.to_keep = True
        if self.guards.collapse == "stop":
            control.should_training_stop = True

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Keep the checkpoint that was asked for where no newer one drops it."""
        if self.to_keep and state.is_world_process_zero:
            self._keep(state.global_step)
        self.to_keep = False

    def _keep(self, step: int) -> None:
        """Copy the checkpoint of that step, unless it is there; a copy that was killed does not count."""
        name = f"checkpoint-{step}"
        kept, unfinished = self.run.kept / name, self.run.kept / f"{name}.partial"
        if kept.exists():
            return
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(self.run.checkpoints / name, unfinished)
        unfinished.rename(kept)

    def require_sound(self, step: int) -> None:
        """Take up the alarms up to `step`, and refuse a training that was stopped there, be it by an earlier
        call.

        Raises:
            NumericError: it was; a checkpoint of that step is there.
        """
        kept: list[dict[str, Any]] = []
        if PartialState().is_main_process and self.run.alarms.exists():
            kept = [row for _, row in files.read_jsonl(self.run.alarms, own=True) if row["step"] <= step]
            files.write_jsonl(self.run.alarms, kept)  # later ones were of steps that are made again
        self.written = waiting.told(kept)
        self.broken = {row["rule"] for row in self.written}
        last = [row for row in self.written if row["step"] == step]
        if last and self.guards.collapse in KEEPING and PartialState().is_main_process:
            self._keep(step)  # seen by the log behind the last save, or killed before it was kept
        if self.guards.collapse != "stop" or not last:
            return
        sentences = "; ".join(row["sentence"] for row in last)
        raise NumericError(
            f"stopped after step {step}, because the training has collapsed: {sentences}. "
            f"{self.run.kept / f'checkpoint-{step}'} holds its adapter; lower trainer.learning_rate or raise "
            "loss.beta for a run of its own, or go on from there with guards.collapse=warn"
        )
