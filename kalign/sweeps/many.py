"""Every combination of `-m`, on this machine one after another, or on Slurm at the same time."""

import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kalign import preemption, runs
from kalign.config import Recipe, compose, launch, multirun
from kalign.preemption import Children
from kalign.sweeps import slurm
from kalign.sweeps.slurm import Slurm

PAUSE_SECONDS = 0.5
STDERR = 2  # the descriptor, which is there whatever stands in for sys.stderr


@dataclass(frozen=True, kw_only=True)
class Several:
    """Trainings that differ in a few settings, all of them composed and checked."""

    every: list[list[str]]  # the words of each
    recipes: list[Recipe]
    group: str
    launch: Sequence[str]
    options: Mapping[str, Any] | None

    @classmethod
    def of(cls, words: list[str], own: Mapping[str, Any], options: Mapping[str, Any] | None) -> "Several":
        """All combinations of the words.

        Args:
            own: `launch` and `ranks`, where each is to run on more than one device.
            options: of Slurm jobs; None to train on this machine.

        Raises:
            ConfigError: a word is wrong, or a step cannot be divided.
        """
        every = multirun.combinations(words)
        recipes = [compose.load(each) for each in every]
        group = f"{recipes[0].name}-{runs.fingerprint(sorted(map(sorted, every)))[:8]}"
        for recipe in recipes:
            if options is not None:
                recipe.trainer.accumulation(slurm.ranks(options))
            if own:
                launch.require_supported(recipe, launch.asked(own))
        every = [_grouped(each, recipe, group) for each, recipe in zip(every, recipes, strict=True)]
        return cls(
            every=every,
            recipes=recipes,
            group=group,
            launch=[f"{key}={value}" for key, value in own.items()],
            options=options,
        )

    def show(self) -> None:
        """Print the command of each training, one a line."""
        for each in self.every:
            print(f"kalign: {self._shown(each)}", file=sys.stderr)

    def run(self, *, as_json: bool) -> int:
        """Train each; the first exit code that is not 0 is returned after all have run.

        Args:
            as_json: print one document on standard output, and all else on standard error.

        Raises:
            ConfigError: Slurm takes no job.
        """
        with preemption.passing_on() as children:
            if self.options is not None:
                codes = _queued(Slurm(children, self.options), self.every, self.recipes, self.group)
            else:
                codes = [self._here(children, each, as_json=as_json) for each in self.every]
        if as_json:
            places = [runs.named(one.runs_path(), one.name, one.determining()).path for one in self.recipes]
            found = [
                {"words": words, "run": str(place), "code": code}
                for words, place, code in zip(self.every, places, codes, strict=True)
            ]
            print(json.dumps({"trainings": found}, ensure_ascii=False, indent=2))
        return next((code for code in codes if code), 0)

    def _here(self, children: Children, words: list[str], *, as_json: bool) -> int:
        print(f"kalign: {self._shown(words)}", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "kalign", "train", *words, *self.launch]
        return children.run(command, stdout=STDERR if as_json else None)

    def _shown(self, words: list[str]) -> str:
        return f"kalign train {shlex.join([*words, *self.launch])}"


def _grouped(words: list[str], recipe: Recipe, group: str) -> list[str]:
    wanted = recipe.tracker.name == "wandb" and not recipe.tracker.group
    return [*words, f"tracker.group={group}"] if wanted else words


def _queued(cluster: Slurm, every: list[list[str]], recipes: list[Recipe], group: str) -> list[int]:
    """Queue all and wait for the exit code of each; jobs outlive this process, and the same command finds
    them again."""
    folder = recipes[0].runs_path() / "sweeps" / group
    folder.mkdir(parents=True, exist_ok=True)
    waiting = {}
    codes: dict[int, int] = {}
    for number, (words, recipe) in enumerate(zip(every, recipes, strict=True)):
        run = runs.named(recipe.runs_path(), recipe.name, recipe.determining())
        job = cluster.start(words, run, Path(folder / f"{number + 1:04}.log"))
        waiting[number] = (job, run)
        print(f"kalign: job {job.handle}: kalign train {shlex.join(words)}", file=sys.stderr)
    while waiting:
        time.sleep(PAUSE_SECONDS)
        for number, (job, run) in list(waiting.items()):
            code = job.code()
            if code is not None:
                del waiting[number]
                codes[number] = code
                print(f"kalign: job {job.handle} ended with code {code}: {run.path}", file=sys.stderr)
    return [codes[number] for number in sorted(codes)]
