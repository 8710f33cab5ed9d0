"""The loop of a sweep: ask for a trial, train it, follow its curve, say how it ended."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from kalign import files, runs
from kalign.config import compose
from kalign.errors import (
    ConfigError,
    DataError,
    IntegrityError,
    Interrupted,
    KalignError,
    NumericError,
    ResourceError,
)
from kalign.runs import Run
from kalign.sweeps.plan import OBJECTIVES, Plan
from kalign.sweeps.processes import Starter, Training, last_said
from kalign.sweeps.search import Search

SAYS_SOMETHING = (NumericError.exit_code, ResourceError.exit_code)  # about its values: the sweep goes on
CATEGORIES = {each.exit_code: each for each in (ConfigError, DataError, IntegrityError)}
PAUSE_SECONDS = 0.5


@dataclass(kw_only=True)
class _Begun:
    """A trial that is looked after."""

    number: int
    run: Run
    log: Path
    training: Training
    curve: dict[int, float] = field(default_factory=dict)
    read_at: int = 0  # when its curve was written that was read last, in nanoseconds
    given_up: bool = False


class Sweep:
    """One sweep that goes on until all of its trials are done."""

    def __init__(self, plan: Plan, starter: Starter, console: Console) -> None:
        self.plan = plan
        self.starter = starter
        self.console = console
        self.objective = OBJECTIVES[plan.objective]
        self.folder = plan.folder
        self.begun: list[_Begun] = []

    def run(self) -> Search:
        """Do every trial that is left.

        Raises:
            Interrupted: this process or a training was asked to leave; the same command goes on.
            KalignError: a training ended in a way that each of them would.
        """
        with runs.locked(Run(self.folder), setting="runs_dir"):
            files.write_json(self.folder / "sweep.json", self.plan.document())
            self.search = Search(self.plan, self.folder)
            while self._begin_some() or self.begun:
                for trial in list(self.begun):
                    self._follow(trial)
                time.sleep(PAUSE_SECONDS)
            if self.starter.stopped():
                raise Interrupted("asked to leave; the same command goes on with the trials that are left")
            return self.search

    def _begin_some(self) -> bool:
        """Begin as many trials as may run at once; whether any was begun."""
        any_begun = False
        while len(self.begun) < self.starter.at_once and not self.starter.stopped():
            number = self.search.next()
            if number is None:
                break
            any_begun = True
            self._begin(number)
        return any_begun

    def _begin(self, number: int) -> None:
        words = self.plan.trial_words(self.search.values(number))
        try:
            recipe = compose.load(words)
        except ConfigError as wrong:  # these values contradict each other
            self._fail(number, str(wrong))
            return
        run = runs.named(recipe.runs_path(), recipe.name, recipe.determining())
        log = self.folder / "trials" / f"{number + 1:04}.log"
        log.parent.mkdir(exist_ok=True)
        training = self.starter.start(words, run, log, self.search.noted(number).get("handle", ""))
        self.search.note(number, words=words, run=run.path.name, handle=training.handle)
        self._say(number, f"begins; what it says goes to {log}")
        self.begun.append(_Begun(number=number, run=run, log=log, training=training))

    def _follow(self, trial: _Begun) -> None:
        code = trial.training.code()
        self._read_curve(trial)
        if not trial.given_up and self.search.hopeless(trial.number, trial.curve) and code is None:
            trial.given_up = True
            trial.training.stop()
        if code is None:
            return
        if code == 0:
            self._complete(trial)
        elif trial.given_up:
            self.search.finish(trial.number, "pruned")
            self._say(trial.number, f"given up after step {max(trial.curve)}")
        elif code in SAYS_SOMETHING:
            self._fail(trial.number, last_said(trial.log))
        else:
            raise self._over(trial, code)
        self.begun.remove(trial)

    def _over(self, trial: _Begun, code: int) -> KalignError:
        """Why the sweep cannot go on; the trial stays unfinished, to be taken up by the same command."""
        if code == Interrupted.exit_code:
            return Interrupted(
                f"trial {trial.number + 1} was asked to leave and saved; the same command goes on"
            )
        return CATEGORIES.get(code, KalignError)(
            f"trial {trial.number + 1} ended with code {code}: {last_said(trial.log)} ({trial.log} says "
            "more; the same command tries it again)"
        )

    def _complete(self, trial: _Begun) -> None:
        self._require_same_inputs(trial)
        result = trial.run.read_result()
        found = ((result["held_out"] or {}).get(self.plan.objective) or {}).get("after")
        if found is None:  # in the curves alone
            self._read_curve(trial)
            found = {"value": trial.curve[max(trial.curve)]} if trial.curve else None
        if found is None:
            raise DataError(
                f"{trial.run.path} has no {self.objective.name}, because no pair was held out or none was "
                "evaluated; raise data.eval_share, or lower trainer.eval_steps"
            )
        self.search.note(trial.number, result=found)
        self.search.finish(trial.number, "complete", found["value"])
        self._say(trial.number, f"{self.objective.name} {found['value']:.4f}")

    def _fail(self, number: int, reason: str) -> None:
        self.search.note(number, reason=reason)
        self.search.finish(number, "fail")
        self._say(number, f"failed: {reason}")

    def _read_curve(self, trial: _Begun) -> None:
        """Take in the evaluations of the held-out pairs that were written since the last look."""
        if not trial.run.history.exists():
            return
        written = trial.run.history.stat().st_mtime_ns
        if written == trial.read_at:
            return
        trial.read_at = written
        for _, row in files.read_jsonl(trial.run.history, own=True):
            if self.objective.curve in row:
                trial.curve[int(row["step"])] = float(row[self.objective.curve])

    def _require_same_inputs(self, trial: _Begun) -> None:
        """Refuse to compare trials of which one was trained on data that have changed since.

        Raises:
            IntegrityError: they differ, though no dimension of the search says so.
        """
        if any(each.key.startswith(("data", "model", "recipe", "pack")) for each in self.plan.dimensions):
            return
        path = self.folder / "inputs.json"
        now = trial.run.read_manifest()["inputs"]
        if not path.exists():
            files.write_json(path, now)
        runs.require_same(json.loads(path.read_text(encoding="utf-8")), now, Run(self.folder))

    def _say(self, number: int, how: str) -> None:
        trial = self.search.study.get_trials(deepcopy=False)[number]
        values = " ".join(f"{key}={_short(value)}" for key, value in trial.params.items())
        self.console.print(f"trial {number + 1}/{self.plan.trials}  {values}  {how}", soft_wrap=True)


def rehearsed(plan: Plan, count: int) -> list[list[str]]:
    """The words of the first trials, without leaving anything."""
    search = Search(plan, None)
    numbers = [search.next() for _ in range(min(count, plan.trials))]
    return [plan.trial_words(search.values(number)) for number in numbers if number is not None]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
