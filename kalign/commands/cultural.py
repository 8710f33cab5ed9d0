"""Benchmarks of culture: their words, and the call."""

import argparse
from collections.abc import Mapping

from kalign.commands.command import console, quiet_libraries
from kalign.errors import ConfigError

SUITES = ("normad", "bbq", "global_mmlu", "include", "blend", "blend_short")
SETTINGS: Mapping[str, str | None] = {
    "suite": None,
    "model": None,
    "base": "false",
    "family": None,
    "data": None,
    "revision": None,
    "subset": None,
    "split": "test",
    "columns": None,
    "language": "",
    "licence": None,
    "chat_template": "false",
    "batch": "16",
    "out": None,
}
ABOUT = (
    "suite=normad, bbq, global_mmlu, include, blend and blend_short ask about cultures: data is a file, a "
    "folder of files or hub:OWNER/NAME (with revision, subset, split), columns=FIELD:COLUMN,... declares "
    "other columns, language chooses one (of include; en asks blend_short in English), licence states one "
    "that you know better. "
)


def evaluate(words: list[str], flags: argparse.Namespace) -> int:
    """Score the questions of a benchmark of culture, with the adapter and without it."""
    from kalign.config import words as plain

    given = plain.read(words, settings=SETTINGS)
    if not given["model"]:
        raise ConfigError("model is missing; give model=RUN, a folder, or OWNER/NAME of the Hub")
    if wrong := [key for key in ("base", "chat_template") if given[key] not in ("true", "false")]:
        raise ConfigError(f"{wrong[0]}={given[wrong[0]]} must be true or false for a benchmark")
    quiet_libraries()
    from kalign.evaluation import scoreboard
    from kalign.evaluation.cultural import evaluate as evaluating
    from kalign.evaluation.cultural.sources import Place

    wanted = evaluating.Wanted(
        suite=str(given["suite"]),
        model=str(given["model"]),
        base=given["base"] == "true",
        place=Place(
            path=given["data"] or "",
            revision=given["revision"],
            subset=given["subset"],
            split=str(given["split"]),
        ),
        columns=_columns(given["columns"]),
        language=str(given["language"]),
        licence=given["licence"],
        family=given["family"],
        out=given["out"],
        chat_template=given["chat_template"] == "true",
        batch=plain.count("batch", str(given["batch"])),
    )
    evaluating.require_place(wanted)
    folder = evaluating.evaluate(wanted, console(flags))
    if flags.json:
        print((folder / scoreboard.FILE).read_text(encoding="utf-8"), end="")
    return 0


def _columns(given: str | None) -> dict[str, str]:
    declared = {}
    for pair in filter(None, (given or "").split(",")):
        field, colon, column = pair.partition(":")
        if not colon or not column:
            raise ConfigError(f"columns={given} declares nothing; write columns=FIELD:COLUMN,...")
        declared[field] = column
    return declared
