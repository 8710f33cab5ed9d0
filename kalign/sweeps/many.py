"""Every combination of `-m`, on this machine one after another, or on Slurm at the same time."""

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kalign import preemption, runs
from kalign.config import Recipe, compose, multirun
from kalign.sweeps import slurm
from kalign.sweeps.slurm import Slurm

PAUSE_SECONDS = 0.5


def run(words: list[str], launch: Sequence[str], options: Mapping[str, Any] | None) -> int:
    """Train each combination; the first exit code that is not 0 is returned after all have run.

    Args:
        launch: the words that say on which devices, the same for each.
        options: of Slurm jobs; None to train on this machine.

    Raises:
        ConfigError: a word is wrong, or Slurm takes no job.
    """
    every = multirun.combinations(words)
    recipes = [compose.load(each) for each in every]
    group = f"{recipes[0].name}-{runs.fingerprint(sorted(map(sorted, every)))[:8]}"
    if options is not None:
        for recipe in recipes:
            recipe.trainer.accumulation(slurm.ranks(options))
    every = [_grouped(each, recipe, group) for each, recipe in zip(every, recipes, strict=True)]
    with preemption.passing_on() as children:
        if options is not None:
            return _queued(Slurm(children, options), every, recipes, group)
        codes = []
        for each in every:
            print(f"kalign: kalign train {shlex.join([*each, *launch])}", file=sys.stderr)
            codes.append(children.run([sys.executable, "-m", "kalign", "train", *each, *launch]))
    return next((code for code in codes if code), 0)


def _grouped(words: list[str], recipe: Recipe, group: str) -> list[str]:
    wanted = recipe.tracker.name == "wandb" and not recipe.tracker.group
    return [*words, f"tracker.group={group}"] if wanted else words


def _queued(cluster: Slurm, every: list[list[str]], recipes: list[Recipe], group: str) -> int:
    """Queue all, and wait for them; jobs outlive this process, and the same command finds them again."""
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
    return next((codes[number] for number in sorted(codes) if codes[number]), 0)
