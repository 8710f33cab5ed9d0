"""Commands that measure a model: evaluate it, compare two evaluations, make a page of it."""

import argparse
import difflib
from collections.abc import Mapping

from kalign.commands.command import Command, console, print_json, quiet_libraries
from kalign.errors import ConfigError

SETTINGS = {
    "suite": "ko",
    "model": None,
    "base": "false",
    "family": None,
    "judge": "rules",
    "as_of": None,
    "batch": "16",
    "max_new_tokens": "512",
    "out": None,
}


def evaluate(words: list[str], flags: argparse.Namespace) -> int:
    """Ask a model the prompts of a suite, judge its answers, and say how often it is safe and helpful."""
    if words[:1] == ["compare"]:
        return compare(words[1:], flags)
    from kalign.config import words as plain

    own = [word for word in words if word.partition("=")[0] in SETTINGS]
    given = plain.read(own, settings=SETTINGS)
    paths = _paths([word for word in words if word not in own])
    if not given["model"]:
        raise ConfigError("model is missing; give model=RUN, a folder, or OWNER/NAME of the Hub")
    quiet_libraries()
    from kalign.evaluation import evaluate as evaluating

    wanted = evaluating.Wanted(
        suite=str(given["suite"]),
        model=str(given["model"]),
        base=given["base"],
        family=given["family"],
        out=given["out"],
        judges=tuple(str(given["judge"]).split(",")),
        as_of=plain.day("as_of", given["as_of"]),
        batch=_count("batch", str(given["batch"])),
        max_new_tokens=_count("max_new_tokens", str(given["max_new_tokens"])),
        paths=paths,
    )
    folder = evaluating.evaluate(wanted, console(flags))
    if flags.json:
        print((folder / evaluating.RESULT).read_text(encoding="utf-8"), end="")
    return 0


def compare(words: list[str], flags: argparse.Namespace) -> int:
    """Compare two evaluations, or several with the first: what changed, with what certainty, in words."""
    from kalign.config import words as plain

    names = [word for word in words if "=" not in word]
    given = plain.read([word for word in words if "=" in word], settings={"out": None})
    if len(names) < 2:
        raise ConfigError("kalign eval compare takes two folders of evaluations or more; give A B")
    from pathlib import Path

    from kalign.evaluation import comparing

    out = Path(str(given["out"])).expanduser() if given["out"] else None
    document = comparing.compare_folders([Path(name).expanduser() for name in names], console(flags), out)
    if flags.json:
        print_json(document)
    return 0


def _paths(words: list[str]) -> dict[str, str]:
    """The words that are left name the files of a suite's sets."""
    paths = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"{word!r} is one word too many; write model={word}, or compare A B")
        if near := difflib.get_close_matches(key, SETTINGS, n=1, cutoff=0.75):
            raise ConfigError(f"{key} is no setting here; did you mean {near[0]}?")
        paths[key] = value
    return paths


def _count(key: str, value: str) -> int:
    if not value.isdigit() or int(value) < 1:
        raise ConfigError(f"{key}={value} must be a whole number above 0")
    return int(value)


COMMANDS: Mapping[str, Command] = {
    "eval": Command(
        run=evaluate,
        summary="measure how safe and how helpful a model is",
        example="kalign eval suite=ko model=runs/tiny-1a2b3c4d base=true",
        words="model=MODEL [suite=ko] [base=true|MODEL] [KEY=VALUE ...] | compare A B [...] [out=DIR]",
        about_words="MODEL is a run, an adapter, a model's folder, or OWNER/NAME; base=true asks it without "
        "its adapter too, and pairs the answers. suite is a pack, a suite.yaml, a file of prompts, or one of "
        "ko_all and korset; SET=FILE gives the file of one of its sets. family is the file of conf/model/ "
        "that knows the model's template, judge a comma-separated panel (rules), as_of the day on which laws "
        "and offices must exist (today), batch how many prompts are asked at once (16), max_new_tokens the "
        "longest answer (512), out the folder (evals/...). compare pairs finished evaluations, each with the "
        "first.",
    ),
}
