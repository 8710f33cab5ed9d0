"""Commands around a training: fine-tune, show, plan, examine a model, list runs."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kalign.commands.command import RECIPE_HELP, RECIPE_WORDS, Command, console, loading_libraries, print_json
from kalign.errors import ConfigError, DataError, KalignError, ResourceError

if TYPE_CHECKING:
    from rich.console import Console

    from kalign.config import Recipe
    from kalign.preemption import Notice
    from kalign.runs import Run


def train(words: list[str], flags: argparse.Namespace) -> int:
    """Fine-tune what the words describe; with -m, once for each combination of comma-separated values."""
    from kalign import preemption

    try:
        with preemption.listening() as notice:  # from here on, a signal ends the command with code 75
            return _train(words, flags, notice)
    except KalignError as wrong:
        if outcome := os.environ.get(preemption.OUTCOME):
            Path(outcome).write_text(str(wrong.exit_code), encoding="utf-8")
        raise


def _train(words: list[str], flags: argparse.Namespace, notice: "Notice") -> int:
    from kalign.config import words as plain
    from kalign.sweeps import slurm

    options, words = slurm.taken(words)
    own, words = plain.taken(words, launch=str, ranks=int)
    if options is not None and (own or not flags.multirun):
        raise ConfigError(
            f"hydra/launcher={slurm.NAME} starts a job with hydra.launcher.tasks_per_node processes for each "
            "combination of -m; add -m, and leave launch= and ranks= away"
        )
    if flags.multirun:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ConfigError(
                "-m starts one training after another, which cannot happen inside a launch of several "
                f"processes; run 'kalign train -m {' '.join(words)}' by itself"
            )
        from kalign.sweeps import many

        several = many.Several.of(words, own, options)
        if flags.dry_run:
            several.show()
            return 0
        return several.run(as_json=flags.json)
    if flags.dry_run and not own:
        raise ConfigError(
            "--dry-run prints the line that launch= would start, and launch= is not given; give one, or ask "
            "'kalign plan' what the training would take"
        )
    from kalign.config import compose

    recipe = compose.load(words)
    if own:
        return _launched(recipe, own, words, flags)
    run = learn(recipe, console(flags), notice)
    if flags.json and int(os.environ.get("RANK", "0")) == 0:
        print(run.result.read_text(encoding="utf-8"), end="")
    return 0


def learn(recipe: "Recipe", shown: "Console", notice: "Notice") -> "Run":
    """The recipe's run, trained by its method; torch is only loaded now, never for composing, nor to say
    that a training by pairs is finished."""
    from kalign import runs

    run = runs.named(recipe.runs_path(), recipe.name, recipe.determining())
    if recipe.method == "dpo" and run.result.exists():
        from kalign.training import finished

        shown.quiet = shown.quiet or os.environ.get("RANK", "0") != "0"
        finished.say_again(recipe, run, shown)
        return run
    with loading_libraries():
        method = _method(recipe)
    return method(recipe, shown, notice)


def _method(recipe: "Recipe") -> "Callable[[Recipe, Console, Notice], Run]":
    if recipe.method == "dpo":
        from kalign.training import dpo

        return dpo.train
    if recipe.data.format != "associations":
        from kalign.training import sft, taught

        return partial(sft.train, read=taught.examples)
    from kalign.associations import tasks

    if recipe.method == "sft":
        from kalign.training import sft

        return partial(sft.train, read=tasks.examples)
    from kalign.training import grpo

    return partial(grpo.train, read=tasks.examples)


def _launched(recipe: "Recipe", own: dict[str, Any], words: list[str], flags: argparse.Namespace) -> int:
    """Print the line that starts the profile's processes, and become it."""
    from kalign.config import launch

    profile = launch.asked(own)
    launch.require_supported(recipe, profile)
    line = launch.line(profile, [*words, *(["--json"] if flags.json else [])])
    print(line.shown, file=sys.stderr, flush=True)
    if not flags.dry_run:
        launch.require_here(profile)
        os.execve(sys.executable, line.arguments, os.environ | line.environment)
    return 0


def show(words: list[str], flags: argparse.Namespace) -> int:
    """Print the resolved recipe."""
    from kalign.config import compose

    recipe = compose.load(words)
    if flags.json:
        print_json(asdict(recipe))
    else:
        print(compose.as_yaml(recipe), end="")
    return 0


def plan(words: list[str], flags: argparse.Namespace) -> int:
    """Say what a training would take before any device is touched: memory, time, and what would be dropped.

    Ends with code 7 when the memory is not enough, and with 3 when a training would stop at the data.
    """
    from kalign.config import words as plain

    own, words = plain.taken(words, launch=str, ranks=int, memory=float, tflops=float)
    from kalign.config import compose

    recipe = compose.load(words)
    if recipe.method != "dpo":
        raise ConfigError(f"method={recipe.method} cannot be planned yet; kalign plan knows dpo")
    with loading_libraries():
        from kalign.training.planning import plan as planning
        from kalign.training.planning import report

    made = planning.plan(recipe, planning.Words(**own))
    report.show(console(flags), made)
    if flags.json:
        print_json(made)
    if not made["memory"]["fits"]:
        return ResourceError.exit_code
    return DataError.exit_code if made["data"]["refused"] else 0


def doctor(words: list[str], flags: argparse.Namespace) -> int:
    """Check the template contract of a model, token by token, on a battery of conversations.

    Ends with code 3 when it is broken; model.twin=true checks the family's tiny twin, without network.
    """
    from kalign.config import words as plain

    own, words = plain.taken(words, out=str)
    from kalign.config import compose

    recipe = compose.load(words)
    with loading_libraries():
        from kalign.models import doctor as examination

    document = examination.run(recipe.model, Path(own.get("out", "doctor.json")).expanduser(), console(flags))
    if flags.json:
        print_json(document)
    return 0 if document["ok"] else DataError.exit_code


def list_runs(words: list[str], flags: argparse.Namespace) -> int:
    """List the runs of a folder, or compare those that are named: what differs, and what it led to."""
    from kalign.config import words as plain

    names, given = plain.named(words, settings={"runs_dir": "runs", "out": None})
    from kalign import files, listing

    folder = Path(str(given["runs_dir"])).expanduser()
    paths = [Path(name) if Path(name).is_dir() else folder / name for name in names]
    listed = [listing.read(path) for path in paths] if paths else listing.found(folder)
    if flags.json:
        print_json(listing.document(listed))
    else:
        listing.say(console(flags), listed, compare=bool(names))
    for each in listed:
        if each.fault:
            print(f"kalign: {each.fault}", file=sys.stderr)
    if given["out"]:
        with files.atomic(Path(given["out"]).expanduser()) as unfinished:
            unfinished.write_text(listing.page(listed), encoding="utf-8")
        print(f"Page: {given['out']}", file=sys.stderr)
    return 0


COMMANDS: Mapping[str, Command] = {
    "train": Command(
        run=train,
        summary="fine-tune a model with preference pairs or word associations",
        example="kalign train recipe=tiny loss.beta=0.3",
        words=f"{RECIPE_WORDS} [launch=PROFILE] [ranks=N]",
        about_words=f"{RECIPE_HELP} launch=single, cpu, ddp, fsdp2, zero2 or zero3 starts N "
        "processes by accelerate and changes no number.",
        flags={
            "--dry-run": {
                "action": "store_true",
                "help": "with launch= or -m: print the lines that would be started, and stop",
            },
            "--multirun": {
                "short": "-m",
                "action": "store_true",
                "help": "run every combination of comma-separated values, here or, with "
                "hydra/launcher=submitit_slurm hydra.launcher.tasks_per_node=8, as Slurm jobs",
            },
        },
    ),
    "runs": Command(
        run=list_runs,
        summary="list runs, or compare some",
        example="kalign runs tiny-1a2b3c4d tiny-5e6f7a8b out=runs.html",
        words="[RUN ...] [runs_dir=runs] [out=FILE.html]",
        about_words="RUN is a folder or its name in runs_dir; without any, all are listed. out writes one "
        "page with the table, and each run as a line through the settings that differ and its results.",
    ),
    "show": Command(
        run=show,
        summary="print a recipe with everything it inherits",
        example="kalign show recipe=qwen adapter.r=64",
    ),
    "doctor": Command(
        run=doctor,
        summary="check a model's chat template and tokenizer, token by token",
        example="kalign doctor recipe=exaone model.twin=true",
        words="[recipe=NAME] [out=doctor.json] [KEY=VALUE ...]",
        about_words="out is where the findings are written. " + RECIPE_HELP,
    ),
    "plan": Command(
        run=plan,
        summary="say what a training would take: memory, time, what would be dropped",
        example="kalign plan recipe=qwen launch=ddp ranks=8 memory=80 data.path=my.jsonl",
        words="[recipe=NAME] [launch=PROFILE] [ranks=N] [memory=GIB] [tflops=RATE] [KEY=VALUE ...]",
        about_words="launch is a file of launch/ (single), ranks the number of devices in place of its own, "
        "memory what one of them has in GiB (24), tflops what one reaches in 1e12 operations a second (300: "
        "one H100 with LoRA on eager transformers). " + RECIPE_HELP,
    ),
}
