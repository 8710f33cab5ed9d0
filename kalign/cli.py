"""The command line: words to functions. A system is imported only when its command runs."""

import argparse
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from kalign import __version__
from kalign.errors import ConfigError, DataError, Interrupted, KalignError, ResourceError

RECIPE_WORDS = "[recipe=NAME] [KEY=VALUE ...]"
RECIPE_HELP = (
    "Words are settings: recipe=NAME or recipe=path/mine.yaml, then KEY=VALUE; "
    "'kalign show' prints every key."
)


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command: what it does, the words it takes, an example, and the function that does it."""

    run: Callable[[list[str], argparse.Namespace], int]
    summary: str
    example: str
    words: str = RECIPE_WORDS
    about_words: str = RECIPE_HELP
    flags: Mapping[str, dict[str, str]] = field(default_factory=dict)  # argparse's options by flag


def train(words: list[str], flags: argparse.Namespace) -> int:
    """Fine-tune what the words describe; with -m, once for each combination of comma-separated values."""
    if flags.multirun:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ConfigError(
                "-m starts one training after another, which cannot happen inside a launch of several "
                f"processes; run 'kalign train -m {' '.join(words)}' by itself"
            )
        from kalign.config import multirun

        return multirun.run(words)
    from kalign.config import compose

    recipe = compose.load(words)
    _quiet_libraries()
    from rich.console import Console

    from kalign.training import dpo  # only now: composing and refusing never wait for torch

    run = dpo.train(recipe, Console(stderr=flags.json, highlight=False, markup=False))
    if flags.json and int(os.environ.get("RANK", "0")) == 0:
        print(run.result.read_text(encoding="utf-8"), end="")
    return 0


def show(words: list[str], flags: argparse.Namespace) -> int:
    """Print the resolved recipe."""
    from kalign.config import compose

    recipe = compose.load(words)
    if flags.json:
        print(json.dumps(asdict(recipe), ensure_ascii=False, indent=2))
    else:
        print(compose.as_yaml(recipe), end="")
    return 0


def plan(words: list[str], flags: argparse.Namespace) -> int:
    """Say what a training would take before any device is touched: memory, time, and what would be dropped.

    Ends with code 7 when the memory is not enough.
    """
    own, words = _own_words(words, launch=str, ranks=int, memory=float, tflops=float)
    from kalign.config import compose

    recipe = compose.load(words)
    _quiet_libraries()
    from rich.console import Console

    from kalign.training.planning import plan as planning
    from kalign.training.planning import report

    made = planning.plan(recipe, planning.Words(**own))
    report.show(Console(stderr=flags.json, highlight=False, markup=False), made)
    if flags.json:
        print(json.dumps(made, ensure_ascii=False, indent=2))
    return 0 if made["memory"]["fits"] else ResourceError.exit_code


def doctor(words: list[str], flags: argparse.Namespace) -> int:
    """Check the template contract of a model, token by token, on a battery of conversations.

    Ends with code 3 when it is broken; model.twin=true checks the family's tiny twin, without network.
    """
    own, words = _own_words(words, out=str)
    from kalign.config import compose

    recipe = compose.load(words)
    _quiet_libraries()
    from pathlib import Path

    from rich.console import Console

    from kalign.models import doctor as examination

    console = Console(stderr=flags.json, highlight=False, markup=False)
    document = examination.run(recipe.model, Path(own.get("out", "doctor.json")), console)
    if flags.json:
        print(json.dumps(document, ensure_ascii=False, indent=2))
    return 0 if document["ok"] else DataError.exit_code


def _quiet_libraries() -> None:
    """Keep back what the libraries say while they are imported, and nobody can act on."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # warns of an unused CPU kernel
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")


def _own_words(words: list[str], **kinds: Callable[[str], Any]) -> tuple[dict[str, Any], list[str]]:
    """The words that belong to the command, by name and of their kind, and those that belong to the recipe.

    Raises:
        ConfigError: a value is not of its kind.
    """
    own: dict[str, Any] = {}
    rest = []
    for word in words:
        key, _, value = word.partition("=")
        if key not in kinds:
            rest.append(word)
            continue
        try:
            own[key] = kinds[key](value)
        except ValueError as wrong:
            raise ConfigError(f"{word} is no {kinds[key].__name__}; write {key}=NUMBER") from wrong
    return own, rest


COMMANDS: Mapping[str, Command] = {
    "train": Command(
        run=train,
        summary="fine-tune a model with preference pairs",
        example="kalign train recipe=tiny loss.beta=0.3",
        flags={
            "--multirun": {
                "short": "-m",
                "action": "store_true",
                "help": "run every combination of comma-separated values",
            }
        },
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code."""
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; an error of ours prints as one line."""
    flags, words = _parser().parse_known_args(arguments)
    if unknown := [word for word in words if word.startswith("-")]:
        print(f"kalign: {unknown[0]} is no flag; kalign {flags.command} --help lists them", file=sys.stderr)
        return ConfigError.exit_code
    try:
        return COMMANDS[flags.command].run(words, flags)
    except KeyboardInterrupt:
        print("kalign: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return Interrupted.exit_code
    except KalignError as wrong:
        if flags.debug:
            raise
        print(f"kalign: {wrong}", file=sys.stderr)
        return wrong.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kalign",
        description="From the description of a culture to a language model that behaves well in it.",
        epilog="exit codes: 0 ok, 2 usage or configuration, 3 data, 4 integrity, 6 numbers, 7 disk or "
        "memory, 75 interrupted (run the same command again)",
    )
    parser.add_argument("--version", action="version", version=f"kalign {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    groups: dict[str, argparse._SubParsersAction[argparse.ArgumentParser]] = {}
    for name, command in COMMANDS.items():
        group, _, verb = name.rpartition(" ")
        if group and group not in groups:
            verbs = ", ".join(other.split()[1] for other in COMMANDS if other.startswith(f"{group} "))
            groups[group] = commands.add_parser(group, help=verbs).add_subparsers(
                required=True, metavar="COMMAND"
            )
        _add(groups.get(group, commands), name, verb, command)
    return parser


def _add(
    where: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, verb: str, command: Command
) -> None:
    shown = " ".join(f"[{flag}]" for flag in (*command.flags, "--json", "--debug"))
    sub = where.add_parser(
        verb,
        help=command.summary,
        description=(command.run.__doc__ or "").strip(),
        usage=f"kalign {name} {command.words} {shown}",
        epilog=f"{command.about_words} Example: {command.example}",
    )
    sub.set_defaults(command=name)
    sub.add_argument(
        "--json", action="store_true", help="one JSON document on standard output, the rest on standard error"
    )
    sub.add_argument("--debug", action="store_true", help="show where an error comes from")
    for flag, options in command.flags.items():
        short = options.get("short")
        others = {key: value for key, value in options.items() if key != "short"}
        sub.add_argument(*([short] if short else []), flag, **others)  # type: ignore[arg-type]
