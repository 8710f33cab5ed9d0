"""The command line: words to functions. A system is imported only when its command runs."""

import argparse
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from kalign import __version__
from kalign.errors import ConfigError, DataError, Interrupted, KalignError, ResourceError

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from kalign.config import Recipe
    from kalign.packs.rows import Cites
    from kalign.packs.shapes import Finding
    from kalign.preemption import Notice

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
    flags: Mapping[str, dict[str, str]] = field(default_factory=dict)  # argparse's options by flag


def train(words: list[str], flags: argparse.Namespace) -> int:
    """Fine-tune what the words describe; with -m, once for each combination of comma-separated values."""
    from kalign import preemption

    with preemption.listening() as notice:  # from here on, a signal ends the command with code 75
        return _train(words, flags, notice)


def _train(words: list[str], flags: argparse.Namespace, notice: "Notice") -> int:
    from kalign.config import words as plain

    own, words = plain.taken(words, launch=str, ranks=int)
    if flags.multirun:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ConfigError(
                "-m starts one training after another, which cannot happen inside a launch of several "
                f"processes; run 'kalign train -m {' '.join(words)}' by itself"
            )
        from kalign.config import multirun

        return multirun.run(words, [f"{key}={value}" for key, value in own.items()])
    from kalign.config import compose

    recipe = compose.load(words)
    if own:
        return _launched(recipe, own, words, flags)
    _quiet_libraries()
    from rich.console import Console

    from kalign.training import dpo  # only now: composing and refusing never wait for torch

    run = dpo.train(recipe, Console(stderr=flags.json, highlight=False, markup=False), notice)
    if flags.json and int(os.environ.get("RANK", "0")) == 0:
        print(run.result.read_text(encoding="utf-8"), end="")
    return 0


def _launched(recipe: "Recipe", own: dict[str, Any], words: list[str], flags: argparse.Namespace) -> int:
    """Print the line that starts the profile's processes, and become it."""
    from kalign.config import launch

    if "launch" not in own:
        raise ConfigError(f"ranks={own['ranks']} needs a profile to start them by; give launch=ddp too")
    profile = launch.profile(own["launch"], own.get("ranks"))
    launch.require_supported(recipe, profile)
    line = launch.line(profile, [*words, *(["--json"] if flags.json else [])])
    print(line.shown, file=sys.stderr, flush=True)
    if not flags.dry_run:
        os.execve(sys.executable, line.arguments, os.environ | line.environment)
    return 0


def show(words: list[str], flags: argparse.Namespace) -> int:
    """Print the resolved recipe."""
    from kalign.config import compose

    recipe = compose.load(words)
    if flags.json:
        print(json.dumps(asdict(recipe), ensure_ascii=False, indent=2))
    else:
        print(compose.as_yaml(recipe), end="")
    return 0


def plan(words: list[str], flags: argparse.Namespace) -> int:
    """Say what a training would take before any device is touched: memory, time, and what would be dropped.

    Ends with code 7 when the memory is not enough.
    """
    from kalign.config import words as plain

    own, words = plain.taken(words, launch=str, ranks=int, memory=float, tflops=float)
    from kalign.config import compose

    recipe = compose.load(words)
    _quiet_libraries()
    from rich.console import Console

    from kalign.training.planning import plan as planning
    from kalign.training.planning import report

    made = planning.plan(recipe, planning.Words(**own))
    report.show(Console(stderr=flags.json, highlight=False, markup=False), made)
    if flags.json:
        print(json.dumps(made, ensure_ascii=False, indent=2))
    return 0 if made["memory"]["fits"] else ResourceError.exit_code


def doctor(words: list[str], flags: argparse.Namespace) -> int:
    """Check the template contract of a model, token by token, on a battery of conversations.

    Ends with code 3 when it is broken; model.twin=true checks the family's tiny twin, without network.
    """
    from kalign.config import words as plain

    own, words = plain.taken(words, out=str)
    from kalign.config import compose

    recipe = compose.load(words)
    _quiet_libraries()
    from pathlib import Path

    from rich.console import Console

    from kalign.models import doctor as examination

    console = Console(stderr=flags.json, highlight=False, markup=False)
    document = examination.run(recipe.model, Path(own.get("out", "doctor.json")), console)
    if flags.json:
        print(json.dumps(document, ensure_ascii=False, indent=2))
    return 0 if document["ok"] else DataError.exit_code


def _quiet_libraries() -> None:
    """Keep back what the libraries say while they are imported, and nobody can act on."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # warns of an unused CPU kernel
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")


def grounding_check(words: list[str], flags: argparse.Namespace) -> int:
    """Verify every law, office and telephone number that a file's rows cite; exit 3 when one is not ok."""
    from pathlib import Path

    from rich.console import Console

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
        print(json.dumps(content, ensure_ascii=False, indent=2))
    else:
        check.print_rows(Console(highlight=False, markup=False), found, as_of)
    return 0 if ok else DataError.exit_code


def grounding_build(words: list[str], flags: argparse.Namespace) -> int:
    """Make a table of laws from a checkout or a CSV index of statutes, and check it on known articles."""
    from pathlib import Path

    from rich.console import Console

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
        print(json.dumps({"out": str(out), **counts, "faults": faults}, ensure_ascii=False, indent=2))
    else:
        check.print_table(Console(highlight=False, markup=False), table, out, faults)
    return DataError.exit_code if faults else 0


def pack_check(words: list[str], flags: argparse.Namespace) -> int:
    """Say all that is wrong with a culture pack: shapes, references, coverage, citations, likeness."""
    from kalign.config import words as plain

    given = plain.read(words, positional=["NAME"], settings={"as_of": None})
    from rich.console import Console

    from kalign import packs
    from kalign.packs import check, tables

    name, on = str(given["NAME"]), plain.day("as_of", given["as_of"])
    folder = packs.folder(name)
    cites, besides = _citations(folder, on)
    report = check.check(folder, on=on, cites=cites, besides=besides)
    if flags.json:
        document = {"pack": name, "folder": str(report.folder), "as_of": str(on), "counts": report.counts}
        findings = [asdict(finding) for finding in report.findings]
        print(json.dumps(document | {"findings": findings}, ensure_ascii=False, indent=2))
    else:
        tables.say(Console(highlight=False, markup=False), name, report)
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
        print(json.dumps({"folder": str(folder), "files": start.names(folder)}, ensure_ascii=False, indent=2))
    else:
        print(f"{folder}: {', '.join(start.names(folder))}")
        print(f"Replace the example in them by your own; kalign pack check {folder} says what is left to do.")
    return 0


def list_runs(words: list[str], flags: argparse.Namespace) -> int:
    """List the runs of a folder, or compare those that are named: what differs, and what it led to."""
    from pathlib import Path

    from kalign.config import words as plain

    names = [word for word in words if "=" not in word]
    given = plain.read([word for word in words if "=" in word], settings={"runs_dir": "runs", "out": None})
    from rich.console import Console

    from kalign import files, listing

    folder = Path(str(given["runs_dir"])).expanduser()
    paths = [Path(name) if Path(name).is_dir() else folder / name for name in names]
    listed = [listing.read(path) for path in paths] if paths else listing.found(folder)
    if flags.json:
        print(json.dumps(listing.document(listed), ensure_ascii=False, indent=2))
    else:
        listing.say(Console(highlight=False, markup=False), listed, compare=bool(names))
    if given["out"]:
        with files.atomic(Path(given["out"])) as unfinished:
            unfinished.write_text(listing.page(listed), encoding="utf-8")
        print(f"Page: {given['out']}", file=sys.stderr)
    return 0


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
        print(json.dumps(certificate, ensure_ascii=False, indent=2))
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
        print(json.dumps(done, ensure_ascii=False, indent=2))
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
    "train": Command(
        run=train,
        summary="fine-tune a model with preference pairs",
        example="kalign train recipe=tiny loss.beta=0.3",
        words=f"{RECIPE_WORDS} [launch=PROFILE] [ranks=N]",
        about_words=f"{RECIPE_HELP} launch=single, cpu or ddp starts N processes by accelerate "
        "and changes no number.",
        flags={
            "--dry-run": {
                "action": "store_true",
                "help": "with launch=: print the line that would start the processes, and stop",
            },
            "--multirun": {
                "short": "-m",
                "action": "store_true",
                "help": "run every combination of comma-separated values",
            },
        },
    ),
    "runs": Command(
        run=list_runs,
        summary="list runs, or compare some",
        example="kalign runs tiny-1a2b3c4d tiny-5e6f7a8b out=runs.html",
        words="[RUN ...] [runs_dir=runs] [out=FILE.html]",
        about_words="RUN is a folder or its name in runs_dir; without any, all are listed. out writes one "
        "page with the table, and each run as a line through the settings that differ and its results.",
    ),
    "show": Command(
        run=show,
        summary="print a recipe with everything it inherits",
        example="kalign show recipe=qwen adapter.r=64",
    ),
    "doctor": Command(
        run=doctor,
        summary="check a model's chat template and tokenizer, token by token",
        example="kalign doctor recipe=exaone model.twin=true",
        words="[recipe=NAME] [out=doctor.json] [KEY=VALUE ...]",
        about_words="out is where the findings are written. " + RECIPE_HELP,
    ),
    "plan": Command(
        run=plan,
        summary="say what a training would take: memory, time, what would be dropped",
        example="kalign plan recipe=qwen launch=ddp ranks=8 memory=80 data.path=my.jsonl",
        words="[recipe=NAME] [launch=PROFILE] [ranks=N] [memory=GIB] [tflops=RATE] [KEY=VALUE ...]",
        about_words="launch is a file of launch/ (single), ranks the number of devices in place of its own, "
        "memory what one of them has in GiB (24), tflops what one reaches in 1e12 operations a second (300: "
        "one H100 with LoRA on eager transformers). " + RECIPE_HELP,
    ),
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
    "pack check": Command(
        run=pack_check,
        summary="say all that is wrong with a culture pack",
        example="kalign pack check ko",
        words="NAME [as_of=YYYY-MM-DD]",
        about_words="NAME is a bundled pack or a folder; as_of is the day on which the institutions that its "
        "policies name must be there (today). Findings end the command with code 3.",
    ),
    "pack new": Command(
        run=pack_new,
        summary="start a culture pack: a folder of commented data",
        example="kalign pack new mine",
        words="NAME",
        about_words="NAME becomes the folder, which must not be there yet.",
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code."""
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; an error of ours prints as one line."""
    flags, words = _parser().parse_known_args(arguments)
    if unknown := [word for word in words if word.startswith("-")]:
        print(f"kalign: {unknown[0]} is no flag; kalign {flags.command} --help lists them", file=sys.stderr)
        return ConfigError.exit_code
    try:
        return COMMANDS[flags.command].run(words, flags)
    except KeyboardInterrupt:
        print("kalign: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return Interrupted.exit_code
    except KalignError as wrong:
        if flags.debug:
            raise
        print(f"kalign: {wrong}", file=sys.stderr)
        return wrong.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kalign",
        description="From the description of a culture to a language model that behaves well in it.",
        epilog="exit codes: 0 ok, 2 usage or configuration, 3 data, 4 integrity, 6 numbers, 7 disk or "
        "memory, 75 interrupted (run the same command again)",
    )
    parser.add_argument("--version", action="version", version=f"kalign {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    groups: dict[str, argparse._SubParsersAction[argparse.ArgumentParser]] = {}
    for name, command in COMMANDS.items():
        group, _, verb = name.rpartition(" ")
        if group and group not in groups:
            verbs = ", ".join(other.split()[1] for other in COMMANDS if other.startswith(f"{group} "))
            groups[group] = commands.add_parser(group, help=verbs).add_subparsers(
                required=True, metavar="COMMAND"
            )
        _add(groups.get(group, commands), name, verb, command)
    return parser


def _add(
    where: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, verb: str, command: Command
) -> None:
    shown = " ".join(f"[{flag}]" for flag in (*command.flags, "--json", "--debug"))
    sub = where.add_parser(
        verb,
        help=command.summary,
        description=(command.run.__doc__ or "").strip(),
        usage=f"kalign {name} {command.words} {shown}",
        epilog=f"{command.about_words} Example: {command.example}",
    )
    sub.set_defaults(command=name)
    sub.add_argument(
        "--json", action="store_true", help="one JSON document on standard output, the rest on standard error"
    )
    sub.add_argument("--debug", action="store_true", help="show where an error comes from")
    for flag, options in command.flags.items():
        short = options.get("short")
        others = {key: value for key, value in options.items() if key != "short"}
        sub.add_argument(*([short] if short else []), flag, **others)  # type: ignore[arg-type]
