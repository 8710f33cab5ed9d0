"""Commands on laws, offices and telephone numbers: verify texts, build the tables."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from kalign.commands.command import Command, console, print_json
from kalign.errors import ConfigError, DataError

if TYPE_CHECKING:
    pass


def grounding_check(words: list[str], flags: argparse.Namespace) -> int:
    """Verify every law, office and telephone number that a file's rows cite; exit 3 when one is not ok."""
    from pathlib import Path

    from kalign import packs
    from kalign.config import words as plain
    from kalign.grounding import check, verify

    settings = {"field": "text", "pack": "ko", "as_of": None, "statutes": None}
    given = plain.read(words, positional=["FILE.jsonl"], settings=settings)
    as_of = plain.day("as_of", given["as_of"])
    table = Path(given["statutes"]) if given["statutes"] else None
    pack = packs.load(str(given["pack"]))
    grounding = verify.load(pack.folder, pack.institutions.values(), table=table)
    found = check.rows(Path(str(given["FILE.jsonl"])), str(given["field"]), grounding, as_of)
    ok = all(row.ok for row in found)
    if flags.json:
        content = {"as_of": str(as_of), "ok": ok, "rows": [row.as_dict() for row in found]}
        print_json(content)
    else:
        check.print_rows(console(flags), found, as_of)
    return 0 if ok else DataError.exit_code


def grounding_build(words: list[str], flags: argparse.Namespace) -> int:
    """Make a table of laws from a checkout or a CSV index of statutes, and check it on known articles."""
    from pathlib import Path

    from kalign import packs
    from kalign.config import words as plain
    from kalign.grounding import build, check, grammar, statutes

    if flags.source is None:
        raise ConfigError("--source is missing; give --source FOLDER, a checkout of statutes or their index")
    settings = {"out": "statutes", "pack": "ko", "scope": "full", "as_of": None, "origin": None}
    given = plain.read(words, settings=settings)
    source, out = Path(flags.source).expanduser(), Path(str(given["out"]))
    spelled = grammar.read(packs.folder(str(given["pack"])) / "citations.yaml")
    origin = build.Origin(
        source=given["origin"] or source.name, as_of=str(plain.day("as_of", given["as_of"]))
    )
    table = build.build(source, spelled, origin)
    faults = build.faults(table, spelled.probes)
    if given["scope"] == "pack":
        table = build.excerpt(table, spelled)
    elif given["scope"] != "full":
        raise ConfigError(f"scope={given['scope']} is unknown; use full, or pack for what a pack lists")
    statutes.write(out, table)
    if flags.json:
        counts = {"laws": len(table.laws), "articles": len(table.articles)}
        print_json({"out": str(out), **counts, "faults": faults})
    else:
        check.print_table(console(flags), table, out, faults)
    return DataError.exit_code if faults else 0


COMMANDS: Mapping[str, Command] = {
    "grounding check": Command(
        run=grounding_check,
        summary="verify the laws, offices and numbers that texts cite",
        example="kalign grounding check answers.jsonl field=chosen",
        words="FILE.jsonl [field=text] [pack=ko] [as_of=DATE] [statutes=FOLDER]",
        about_words="field names the text in each row; as_of is the day on which citations must hold "
        "(today); statutes is a table made by 'kalign grounding build', in place of the pack's own.",
    ),
    "grounding build": Command(
        run=grounding_build,
        summary="make a full table of laws from a source",
        example="kalign grounding build --source legalize-kr as_of=2026-06-08 out=statutes",
        words="--source FOLDER [out=statutes] [pack=ko] [scope=full|pack] [as_of=DATE] [origin=TEXT]",
        about_words="as_of is the day of the source's state, origin says what it is; both stand in every "
        "row. scope=pack keeps the articles that the pack lists, and every act by name.",
        flags={
            "--source": {"metavar": "FOLDER", "help": "a checkout of Markdown statutes, or articles.csv.gz"}
        },
    ),
}
