"""Commands that give a trained model away: merge it with a certificate, upload it."""

import argparse
import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from kalign.commands.command import Command, console, loading_libraries, print_json
from kalign.errors import ConfigError, Interrupted

if TYPE_CHECKING:
    from pathlib import Path

    from kalign.export.prover import Tell

SETTINGS = {
    "run": None,
    "out": None,
    "format": "merged",
    "dtype": None,
    "base": None,
    "accept_loss": "false",
}
WHOLE = "every hash, names, shapes and types of tensors, finite numbers, tokenizer, template, stops"
CHECKED_ALONE = {
    "merged": WHOLE,
    "vendor": WHOLE,
    "adapter": "every hash, tokenizer, template",
    "gguf": "every hash",
}


def export(words: list[str], flags: argparse.Namespace) -> int:
    """Merge a finished run into its base and prove it in a fresh process; or check an export again."""
    from pathlib import Path

    from kalign.config import words as plain

    given = plain.read(words, settings=SETTINGS)
    if flags.verify:
        if others := [key for key in SETTINGS if key != "run" and given[key] != SETTINGS[key]]:
            raise ConfigError(
                f"{others[0]} has no meaning with --verify, which takes run=DIR only; leave it out"
            )
        return _verify(
            Path(flags.verify).expanduser(), Path(given["run"]).expanduser() if given["run"] else None, flags
        )
    if missing := [key for key in ("run", "out") if not given[key]]:
        raise ConfigError(f"{missing[0]} is missing; this command takes run=DIR out=DIR, or --verify DIR")
    plain.claim("accept_loss", given["accept_loss"])  # before anything is loaded
    return _export(given, flags)


def _export(given: Mapping[str, str | None], flags: argparse.Namespace) -> int:
    from pathlib import Path

    from kalign.export.prover import Prover

    out = Path(str(given["out"])).expanduser()
    with Prover() as prover, _shown() as tell:  # the other process loads its libraries while this one does
        with loading_libraries():
            from kalign.export import export as exporting

        wanted = exporting.Wanted(
            run=Path(str(given["run"])).expanduser(),
            out=out,
            format=str(given["format"]),
            dtype=given["dtype"],
            base=given["base"],
            accept_loss=given["accept_loss"] == "true",
        )
        certificate = exporting.export(wanted, prover, tell)
    _say(certificate, flags, f"Written and proven: {out} · certificate: {out}/certificate.json")
    return 0


def _verify(folder: "Path", run: "Path | None", flags: argparse.Namespace) -> int:
    with _shown() as tell:
        with loading_libraries():
            from kalign.export import export as exporting

        certificate = exporting.verify(folder, run, tell=tell)
    if run:
        _say(certificate, flags, f"Holds, measured again: {folder}")
    else:
        _say(
            certificate,
            flags,
            f"Holds, as far as its files show: {folder}\n"
            f"Checked now: {CHECKED_ALONE[certificate['format']]}.\n"
            "Not measured again: what only its run and its base could show (give run=DIR).",
        )
    return 0


def _say(certificate: dict[str, Any], flags: argparse.Namespace, end: str) -> None:
    from rich.table import Table

    from kalign.export import lines

    to = console(flags)
    table = Table(title="Certificate", title_justify="left")
    table.add_column("line")
    table.add_column("what was found", overflow="fold")
    for name, found in lines.of(certificate):
        table.add_row(name, found)
    to.print(table)
    to.print(end, soft_wrap=True)
    if flags.json:
        print_json(certificate)


@contextlib.contextmanager
def _shown() -> Iterator["Tell"]:
    """Show on the terminal how far a long work is; an interruption leaves nothing behind."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    to = Console(stderr=True)
    with Progress(*columns, console=to, transient=True, disable=not to.is_terminal) as progress:
        task = progress.add_task("loading libraries", total=1)

        def tell(stage: str, done: int, of: int) -> None:
            progress.update(task, description=stage, completed=done, total=of)

        try:
            yield tell
        except KeyboardInterrupt as wrong:
            raise Interrupted("interrupted; nothing was written, and the same command starts anew") from wrong


def push(words: list[str], flags: argparse.Namespace) -> int:
    """Check an export and say what would be uploaded; with --yes, upload it to a private repository."""
    from pathlib import Path

    from kalign.config import words as plain

    given = plain.read(words, positional=["DIR"], settings={"repo": None, "run": None})
    if not given["repo"]:
        raise ConfigError("repo is missing; give repo=OWNER/NAME")
    with _shown() as tell:
        with loading_libraries():
            from kalign.export import push as pushing

        run = Path(given["run"]).expanduser() if given["run"] else None
        done = pushing.push(Path(str(given["DIR"])).expanduser(), given["repo"], run, tell, yes=flags.yes)
    if flags.json:
        print_json(done)
        return 0
    for name, size in done["files"].items():
        print(f"{size:>14,} bytes  {name}")
    print(
        f"Uploaded to {done['repo']}, which is private."
        if flags.yes
        else f"Its certificate holds. Nothing was uploaded; --yes uploads to {done['repo']}, kept private."
    )
    return 0


COMMANDS: Mapping[str, Command] = {
    "export": Command(
        run=export,
        summary="merge a trained adapter into its base, with a certificate",
        example="kalign export run=runs/tiny-1a2b3c4d out=my-model",
        words="run=DIR out=DIR [format=merged|adapter|vendor|gguf] [dtype=float16] [base=16bit|dequantised] "
        "[accept_loss=true]",
        about_words="dtype is that of the base unless given; base is for runs on 4-bit weights: dequantised "
        "(what was trained on) unless given; accept_loss=true writes a merge that lost more than a twentieth "
        "of what was learned. --verify DIR checks an export by its files, and with run=DIR measures it too.",
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
