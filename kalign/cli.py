"""The command line: words to functions. A system is imported only when its command runs."""

import argparse
import sys
from collections.abc import Mapping, Sequence

from kalign import __version__
from kalign.commands import (
    associations,
    bench,
    evaluation,
    export,
    grounding,
    markers,
    packs,
    providers,
    reference,
    study,
    sweep,
    synthesis,
    tag,
    training,
)
from kalign.commands.command import Command, Lines
from kalign.errors import ConfigError, Interrupted, KalignError, ResourceError

COMMANDS: Mapping[str, Command] = {
    **training.COMMANDS,
    **reference.COMMANDS,
    **bench.COMMANDS,
    **evaluation.COMMANDS,
    **synthesis.COMMANDS,
    **sweep.COMMANDS,
    **export.COMMANDS,
    **grounding.COMMANDS,
    **packs.COMMANDS,
    **providers.COMMANDS,
    **tag.COMMANDS,
    **markers.COMMANDS,
    **associations.COMMANDS,
    **study.COMMANDS,
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
    except OSError as wrong:
        if flags.debug or not wrong.filename:
            raise
        place = f"{wrong.filename} cannot be read or written: {wrong.strerror}"
        print(f"kalign: {place}; give another place", file=sys.stderr)
        return ResourceError.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kalign",
        description="From the description of a culture to a language model that behaves well in it.",
        epilog="exit codes: 0 ok, 2 usage or configuration, 3 data, 4 integrity, 5 provider, 6 numbers, "
        "7 disk or memory, 75 interrupted (run the same command again)",
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
        formatter_class=Lines,
        description=" ".join((command.run.__doc__ or "").split()),
        usage=f"kalign {name} {command.words} {shown}",
        epilog=f"{command.about_words}\n\nExample: {command.example}",
    )
    sub.set_defaults(command=name)
    sub.add_argument(
        "--json", action="store_true", help="one JSON document on standard output, the rest on standard error"
    )
    sub.add_argument("--debug", action="store_true", help="show where an error comes from")
    for flag, options in command.flags.items():
        short = options.get("short")
        others = {key: value for key, value in options.items() if key != "short"}
        sub.add_argument(*([short] if short else []), flag, **others)
