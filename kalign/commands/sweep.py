"""The command of an adaptive search: many trainings, chosen one after the other by what the earlier ones
found."""

import argparse
import os
import shlex
from collections.abc import Mapping
from typing import Any

from kalign.commands.command import RECIPE_HELP, RECIPE_WORDS, Command, console, print_json
from kalign.errors import ConfigError


def sweep(words: list[str], flags: argparse.Namespace) -> int:
    """Search for good settings: each trial is an ordinary run, and the same command goes on where it
    stopped."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            "a search runs beside its trainings, never inside one of several processes, where each would "
            f"draw other values; run 'kalign sweep {shlex.join(words)}' by itself"
        )
    from kalign import preemption
    from kalign.config import words as plain
    from kalign.sweeps import control, plan, report, slurm
    from kalign.sweeps.processes import Local

    options, rest = slurm.taken(words)
    own, rest = plain.taken(rest, launch=str, ranks=int)
    asked = plan.made(rest)
    launch = _launch(asked, own, options)
    if flags.dry_run:
        shown = console(flags)
        shown.print(f"{asked.trials} trials in {asked.folder}; the first are", soft_wrap=True)
        first = [["kalign", "train", *each, *launch] for each in control.rehearsed(asked, 3)]
        for line in first:
            shown.print(shlex.join(line), soft_wrap=True)
        if flags.json:
            print_json({"sweep": str(asked.folder), **asked.document(), "first": first})
        return 0
    with preemption.passing_on() as children:
        starter = Local(children, launch) if options is None else slurm.Slurm(children, options)
        search = control.Sweep(asked, starter, console(flags)).run()
    found = report.document(asked, search)
    report.say(console(flags), found)
    if flags.json:
        print_json(found)
    return 0


def _launch(asked: Any, own: Mapping[str, Any], options: Mapping[str, Any] | None) -> list[str]:
    """The words that say on which devices each trial runs, checked once for all."""
    from kalign.config import launch
    from kalign.sweeps import slurm

    if own and options is not None:
        raise ConfigError(
            "hydra/launcher starts a job's processes itself, by hydra.launcher.tasks_per_node; leave "
            "launch= and ranks= away"
        )
    if options is not None:
        asked.recipe.trainer.accumulation(slurm.ranks(options))
    if not own:
        return []
    launch.require_supported(asked.recipe, launch.asked(own))
    return [f"{key}={value}" for key, value in own.items()]


COMMANDS: Mapping[str, Command] = {
    "sweep": Command(
        run=sweep,
        summary="search for good settings, trial by trial",
        example="kalign sweep recipe=tiny 'loss.beta=float(0.01,0.5,log)' 'adapter.r=choice(8,16)' trials=8",
        words=f"{RECIPE_WORDS} KEY=float(LOW,HIGH[,log]) KEY=int(LOW,HIGH[,log]) KEY=choice(A,B,...) "
        "[search=tpe|random|grid] [trials=N] [pruning=none|median|halving] [objective=NAME] [search_seed=0] "
        "[launch=PROFILE] [ranks=N] [hydra/launcher=submitit_slurm]",
        about_words="A setting with float, int or choice is searched along (quote it for the shell); grid "
        "tries every combination of choices. objective is reward_accuracy, reward_margin or eval_loss, on "
        "the held-out pairs; pruning gives up, by trainer.eval_steps, what falls behind. More trials go on "
        f"in the same sweep. {RECIPE_HELP}",
        flags={
            "--dry-run": {"action": "store_true", "help": "say what would be tried first, and stop"},
        },
    ),
}
