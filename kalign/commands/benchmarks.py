"""Benchmarks that kalign asks and scores itself: their words, and the call."""

import argparse
from collections.abc import Mapping

from kalign.commands.command import console, count, quiet_libraries
from kalign.errors import ConfigError

COMMON: Mapping[str, str | None] = {
    "suite": None,
    "model": None,
    "base": "false",
    "family": None,
    "data": None,
    "columns": None,
    "batch": "16",
    "out": None,
}
SETTINGS: Mapping[str, Mapping[str, str | None]] = {  # of each suite, beside the common ones
    "kobbq": {"prompts": None, "prompt": "1", "max_new_tokens": "32"},
}
DATA = {
    "kobbq": "KoBBQ_test_samples.tsv of github.com/naver-ai/KoBBQ, or a file with its columns",
}
ABOUT = (
    "suite=kobbq is asked and scored by kalign over the file that data names: accuracy and diff-bias; "
    "columns=FIELD:COLUMN,... declares other columns, prompts and prompt are KoBBQ's file of prompts and "
    "the number of one. "
)


def evaluate(words: list[str], flags: argparse.Namespace) -> int:
    """Ask a benchmark's questions, score the answers, and print the table."""
    from kalign.config import words as plain

    [suite] = {word.partition("=")[2] for word in words if word.startswith("suite=")}
    given = plain.read(words, settings={**COMMON, **SETTINGS[suite]})
    if not given["model"]:
        raise ConfigError("model is missing; give model=RUN, a folder, or OWNER/NAME of the Hub")
    quiet_libraries()
    from kalign.evaluation import scoreboard
    from kalign.evaluation.benchmarks import asked, kobbq

    wanted = asked.Wanted(
        suite=suite,
        model=str(given["model"]),
        base=given["base"],
        family=given["family"],
        out=given["out"],
        data=asked.data(suite, given["data"], DATA[suite]),
        batch=count("batch", str(given["batch"])),
        max_new_tokens=count("max_new_tokens", str(given["max_new_tokens"])),
    )
    runs = {"kobbq": kobbq.evaluate}
    folder = runs[suite](wanted, console(flags), given=given)
    if flags.json:
        print((folder / scoreboard.FILE).read_text(encoding="utf-8"), end="")
    return 0
