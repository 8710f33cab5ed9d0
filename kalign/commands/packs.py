"""Commands on culture packs: check one, start one."""

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from kalign.commands.command import Command, console, print_json
from kalign.errors import DataError

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from kalign.packs.rows import Cites
    from kalign.packs.shapes import Finding


def pack_check(words: list[str], flags: argparse.Namespace) -> int:
    """Say all that is wrong with a culture pack: shapes, references, coverage, citations, likeness."""
    from kalign.config import words as plain

    given = plain.read(words, positional=["NAME"], settings={"as_of": None})
    from kalign import packs
    from kalign.packs import check, tables

    name, on = str(given["NAME"]), plain.day("as_of", given["as_of"])
    folder = packs.folder(name)
    cites, besides = _citations(folder, on)
    report = check.check(folder, on=on, cites=cites, besides=besides)
    if flags.json:
        document = {"pack": name, "folder": str(report.folder), "as_of": str(on), "counts": report.counts}
        findings = [asdict(finding) for finding in report.findings]
        print_json(document | {"findings": findings})
    else:
        tables.say(console(flags), name, report)
    return DataError.exit_code if report.findings else 0


def _citations(folder: "Path", on: "date") -> "tuple[Cites | None, list[Finding]]":
    """What says which citations of a text are wrong; None, and why, where the tables cannot be read."""
    from kalign.grounding import refusal, verify
    from kalign.packs import pack
    from kalign.packs.shapes import Finding

    try:
        refusal.read(folder / "refusal.yaml")
        grounding = verify.load(folder, pack.load(folder).institutions.values())
    except DataError as wrong:
        return None, [Finding("grounding", str(wrong), "mend that file; citations were not checked")]
    return partial(grounding.wrong, as_of=on), []


def pack_new(words: list[str], flags: argparse.Namespace) -> int:
    """Write a commented example into a new folder, to be replaced file by file."""
    from kalign.config import words as plain

    name = str(plain.read(words, positional=["NAME"])["NAME"])
    from kalign.packs import start

    folder = start.new(name)
    if flags.json:
        print_json({"folder": str(folder), "files": start.names(folder)})
    else:
        print(f"{folder}: {', '.join(start.names(folder))}")
        print(f"Replace the example in them by your own; kalign pack check {folder} says what is left to do.")
    return 0


COMMANDS: Mapping[str, Command] = {
    "pack check": Command(
        run=pack_check,
        summary="say all that is wrong with a culture pack",
        example="kalign pack check ko",
        words="NAME [as_of=YYYY-MM-DD]",
        about_words="NAME is a bundled or installed pack, or a folder; as_of is the day on which the "
        "institutions that its policies name must be there (today). Findings end the command with code 3.",
    ),
    "pack new": Command(
        run=pack_new,
        summary="start a culture pack: a folder of commented data",
        example="kalign pack new mine",
        words="NAME",
        about_words="NAME becomes the folder, which must not be there yet.",
    ),
}
