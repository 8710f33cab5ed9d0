"""What one command is, and what all of them share."""

import argparse
import contextlib
import gc
import json
import logging
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

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
    flags: Mapping[str, dict[str, Any]] = field(default_factory=dict)  # argparse's options by flag


class Lines(argparse.HelpFormatter):
    """Help in which lines stay lines: each is wrapped by itself, and what is indented hangs."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(self._wrapped(line, width, indent) for line in text.splitlines())

    def _wrapped(self, line: str, width: int, indent: str) -> str:
        lead = indent + line[: len(line) - len(line.lstrip())]
        hanging = lead + "    " if lead else lead
        return textwrap.fill(line.strip(), width, initial_indent=lead, subsequent_indent=hanging)


def console(flags: argparse.Namespace) -> "Console":
    """Where a command writes for people: standard output, unless --json gives that to one document."""
    from rich.console import Console

    return Console(stderr=flags.json, highlight=False, markup=False)


def print_json(document: object) -> None:
    """Print the one document of --json."""
    print(json.dumps(document, ensure_ascii=False, indent=2))


@contextlib.contextmanager
def loading_libraries() -> Iterator[None]:
    """Import without what libraries say then, and nobody can act on; and without looking for garbage.

    Python's collector looks through all that is there again and again while it grows: a sixth of the time
    that torch, transformers and trl take to load. What they brought is kept, and not looked at later.
    """
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # warns of an unused CPU kernel
    # Logs to standard output, which may hold one document; its level is set anew when it is imported
    logging.getLogger("DeepSpeed").addFilter(_errors_on_stderr)
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _errors_on_stderr(record: logging.LogRecord) -> bool:
    """Say an error on standard error, and nothing where the logger would."""
    if record.levelno >= logging.ERROR:
        print(record.getMessage(), file=sys.stderr)
    return False
