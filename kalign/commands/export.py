"""Commands that give a trained model away: merge it with a certificate, upload it."""

import argparse
from collections.abc import Mapping

from kalign.commands.command import Command, print_json
from kalign.errors import ConfigError


def export(words: list[str], flags: argparse.Namespace) -> int:
    """Merge a finished run into its base and prove it in a fresh process; or check an export again."""
    from pathlib import Path

    from kalign.config import words as plain

    settings = {
        "run": None,
        "out": None,
        "format": "merged",
        "dtype": None,
        "base": None,
        "accept_loss": "false",
    }
    given = plain.read(words, settings=settings)
    needed = ("run",) if flags.verify else ("run", "out")
    missing = [key for key in needed if not given[key] and not flags.verify]
    if missing:
        raise ConfigError(f"{missing[0]} is missing; this command takes run=DIR out=DIR, or --verify DIR")
    if given["accept_loss"] not in ("true", "false"):
        raise ConfigError(f"accept_loss={given['accept_loss']} must be true or false")
    from kalign.export import export as exporting

    if flags.verify:
        out = Path(flags.verify)
        certificate = exporting.verify(out, Path(given["run"]) if given["run"] else None)
    else:
        out = Path(str(given["out"]))
        certificate = exporting.export(
            exporting.Wanted(
                run=Path(str(given["run"])),
                out=out,
                format=str(given["format"]),
                dtype=given["dtype"],
                base=given["base"],
                accept_loss=given["accept_loss"] == "true",
            )
        )
    if flags.json:
        print_json(certificate)
    else:
        print(
            f"{out}: {'holds what it says' if flags.verify else 'written and proven'}; {out}/certificate.json"
        )
        if flags.verify and not given["run"]:
            print("Sums and files only; give run=DIR to measure it again.")
    return 0


def push(words: list[str], flags: argparse.Namespace) -> int:
    """Check an export and say what would be uploaded; with --yes, upload it to a private repository."""
    from pathlib import Path

    from kalign.config import words as plain

    given = plain.read(words, positional=["DIR"], settings={"repo": None, "run": None})
    if not given["repo"]:
        raise ConfigError("repo is missing; give repo=OWNER/NAME")
    from kalign.export import push as pushing

    run = Path(given["run"]) if given["run"] else None
    done = pushing.push(Path(str(given["DIR"])), given["repo"], run, yes=flags.yes)
    if flags.json:
        print_json(done)
        return 0
    for name, size in done["files"].items():
        print(f"{size:>14,} bytes  {name}")
    print(
        f"uploaded to {done['repo']}"
        if flags.yes
        else f"Nothing was uploaded; --yes uploads to {done['repo']}"
    )
    return 0


COMMANDS: Mapping[str, Command] = {
    "export": Command(
        run=export,
        summary="merge a trained adapter into its base, with a certificate",
        example="kalign export run=runs/tiny-1a2b3c4d out=my-model",
        words="run=DIR out=DIR [format=merged|adapter|vendor|gguf] [dtype=float16] [base=16bit|dequantised]",
        about_words="dtype is that of the base unless given; base is for runs on 4-bit weights: dequantised "
        "(what was trained on) unless given; accept_loss=true writes a merge that lost more than a twentieth "
        "of what was learned. With --verify, run=DIR measures the export again.",
        flags={"--verify": {"metavar": "DIR", "help": "check an export again"}},
    ),
    "push": Command(
        run=push,
        summary="upload an export to the Hub; a dry run unless --yes",
        example="kalign push my-model repo=me/my-model",
        words="DIR repo=OWNER/NAME [run=DIR]",
        about_words="DIR is an export whose certificate holds; with run=DIR it is measured again first.",
        flags={"--yes": {"action": "store_true", "help": "upload, to a private repository"}},
    ),
}
