"""Judges on labelled answers: the words, and the call."""

import argparse

from kalign.commands.command import console, loading_libraries
from kalign.errors import ConfigError

SETTINGS = {
    "labels": None,
    "columns": None,
    "safe": "safe",
    "judge": "rules",
    "pack": "ko",
    "as_of": None,
    "repeat": "0.05",
    "out": None,
}
ABOUT = """
kalign eval judges measures a panel on labelled answers:
  labels=FILE  with prompt, response, label and, if it has them, category, id and model
  columns=FIELD:COLUMN,...  where the file names its columns otherwise
  safe=LABEL  that of a safe answer (safe)
  judge=A,B,... and as_of=DAY as above; pack=NAME  whose rules and rubric they judge by (ko)
  repeat=SHARE  how many answers are asked about again (0.05)
"""


def calibrate(words: list[str], flags: argparse.Namespace) -> int:
    """Ask the judges about labelled answers, and say how far they can be relied on."""
    from kalign.config import words as plain

    given = plain.read(words, settings=SETTINGS)
    repeat = plain.number("repeat", given["repeat"])
    if not 0 <= repeat <= 1:
        raise ConfigError(f"repeat={given['repeat']} is a share; use 0 to 1")
    with loading_libraries():
        from kalign.evaluation import calibration, declared

    wanted = calibration.Wanted(
        labels=declared.file("labels", given["labels"], "answers with the label that people gave them"),
        columns=declared.columns(given["columns"], calibration.COLUMNS),
        safe=str(given["safe"]),
        judges=tuple(str(given["judge"]).split(",")),
        pack=str(given["pack"]),
        as_of=plain.day("as_of", given["as_of"]),
        repeat=repeat,
        out=given["out"],
    )
    folder = calibration.calibrate(wanted, console(flags))
    if flags.json:
        print((folder / calibration.FILE).read_text(encoding="utf-8"), end="")
    return 0
