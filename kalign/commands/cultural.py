"""Benchmarks of culture: their words, and the call."""

import argparse
from collections.abc import Mapping

from kalign.commands.command import console, loading_libraries

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
ABOUT = """
Benchmarks of culture, scored by lm-evaluation-harness, for which an endpoint does not do:
  suite=normad, bbq, global_mmlu, include, blend or blend_short; base=true or false
  data=PATH  a file, a folder of files, or hub:OWNER/NAME with revision=COMMIT, subset, split (test)
  columns=FIELD:COLUMN,...  where the files name their columns otherwise
  language=NAME  one of include's; names global_mmlu's; en asks blend_short in English
  licence=TEXT  one that you know better than kalign
  chat_template=true  in the model's template (false)
"""


def evaluate(words: list[str], flags: argparse.Namespace) -> int:
    """Score the questions of a benchmark of culture, with the adapter and without it."""
    from kalign.config import words as plain

    given = plain.read(words, settings=SETTINGS)
    plain.require_model(given)
    base, chat = (plain.claim(key, given[key]) for key in ("base", "chat_template"))
    with loading_libraries():
        from kalign.evaluation import scoreboard
        from kalign.evaluation.cultural import evaluate as evaluating
        from kalign.evaluation.cultural.sources import Place

    wanted = evaluating.Wanted(
        suite=str(given["suite"]),
        model=str(given["model"]),
        base=base,
        place=Place(
            path=given["data"] or "",
            revision=given["revision"],
            subset=given["subset"],
            split=str(given["split"]),
        ),
        columns=given["columns"],
        language=str(given["language"]),
        licence=given["licence"],
        family=given["family"],
        out=given["out"],
        chat_template=chat,
        batch=plain.count("batch", str(given["batch"])),
    )
    evaluating.require_place(wanted)
    folder = evaluating.evaluate(wanted, console(flags))
    if flags.json:
        print((folder / scoreboard.FILE).read_text(encoding="utf-8"), end="")
    return 0
