"""Commands of the alignment-data pipeline: all stages, one of them, or a review by people."""

import argparse
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kalign.commands.command import Command, console, print_json
from kalign.errors import ConfigError

if TYPE_CHECKING:
    from kalign.synthesis.pipeline import Done, Plan, Wanted
    from kalign.synthesis.review import Review

STAGES = ("seeds", "attack", "respond", "judge", "triplets")
REVIEW = "review"


def synth(words: list[str], flags: argparse.Namespace) -> int:
    """Make preference triplets from a culture pack, or one stage of it; or let people review some.

    Whatever was answered is kept in the folder's ledger: the same command goes on where it stopped. What is
    written holds harmful text, is readable by the user alone, and is never shown here.
    """
    from kalign.config import words as plain
    from kalign.sweeps import arrays, slurm
    from kalign.synthesis import pipeline

    options, words = slurm.taken(words)
    stage, rest = _stage(words)
    own, settings = plain.taken(rest, out=Path, file=Path, rows=int, shards=int)
    shards = arrays.taken(options, own.get("shards"))
    wanted = pipeline.Wanted(
        words=tuple(settings),
        stage=None if stage == REVIEW else stage,
        out=own.get("out"),
        shard=plain.shard(f"--shard {flags.shard}") if flags.shard is not None else (0, 1),
        offline=flags.offline,
        accept_change=tuple(flags.accept_change or ()),
    )
    if stage == REVIEW:
        return _review(wanted, own, flags)
    if lost := [key for key in ("file", "rows") if key in own]:
        raise ConfigError(f"{lost[0]} is of 'kalign synth review' alone; leave it away, or name that stage")
    if flags.dry_run:
        return _dry_run(pipeline.plan(wanted), flags)
    if shards is not None and (code := _queued(wanted, shards, options or {})):
        return code
    _show(pipeline.run(wanted), flags)
    return 0


def _queued(wanted: "Wanted", shards: int, options: Mapping[str, Any]) -> int:
    """Do the shards as jobs of a Slurm array; 0 once all are done, and can be joined.

    Raises:
        ConfigError: a stage or a shard is asked for too, or Slurm takes no job.
    """
    from kalign.sweeps import arrays
    from kalign.synthesis import pipeline

    if wanted.stage or wanted.shard[1] > 1 or wanted.offline:
        raise ConfigError("shards=N does every stage of every shard; leave STAGE, --shard and --offline away")
    asked = pipeline.plan(wanted)
    pipeline.prepare(asked)
    words = [*wanted.words, f"out={asked.folder.path.absolute()}"]
    accepted = [word for key in wanted.accept_change for word in ("--accept-change", key)]
    return arrays.run(
        arrays.Array(
            words=[["synth", *words, "--shard", f"{which}/{shards}", *accepted] for which in range(shards)],
            done=lambda which: pipeline.is_done(asked, which, shards),
            folder=asked.folder.jobs,
        ),
        options,
    )


def _stage(words: Sequence[str]) -> tuple[str | None, list[str]]:
    plain = [word for word in words if "=" not in word]
    if len(plain) > 1 or (plain and plain[0] not in (*STAGES, REVIEW)):
        wrong = plain[-1] if len(plain) > 1 else plain[0]
        near = difflib.get_close_matches(wrong, (*STAGES, REVIEW), n=1)
        hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join((*STAGES, REVIEW))}"
        if wrong in (*STAGES, REVIEW):
            raise ConfigError(f"{' and '.join(plain)} are several stages; name one, or none for all of them")
        raise ConfigError(f"{wrong!r} is no stage; {hint}")
    return (plain[0] if plain else None), [word for word in words if "=" in word]


def _dry_run(plan: "Plan", flags: argparse.Namespace) -> int:
    """Say what the first wave would take, and send nothing."""
    lines = plan.estimate()
    if flags.json:
        print_json(
            {"folder": str(plan.folder.path), "kin": plan.cast.kin, "lines": [asdict(line) for line in lines]}
        )
        return 0
    from rich.table import Table

    shown = console(flags)
    table = Table(
        title=f"{plan.pipeline.name}: the first wave for {plan.pipeline.size:,} triplets",
        title_justify="left",
    )
    for column in ("role", "model", "calls at least", "at most", "tokens in", "tokens out", "US$ at most"):
        table.add_column(column, justify="left" if column in ("role", "model") else "right", overflow="fold")
    for line in lines:
        cost = "not known" if line.cost is None else f"{line.cost:,.2f}"
        counts = (line.least, line.most, line.tokens_in, line.tokens_out)
        table.add_row(line.role, line.model, *(f"{count:,}" for count in counts), cost)
    shown.print(table)
    unknown = [line for line in lines if line.cost is None]
    total = sum(line.cost or 0.0 for line in lines)
    calls = sum(line.most for line in lines)
    shown.print(
        f"At most {calls:,} calls and US$ {total:,.2f}"
        + (f", without {len(unknown)} line(s) whose price is not known" if unknown else "")
        + f". Further waves (at most {plan.pipeline.waves - 1}) draw for what is short. Nothing was sent.",
        soft_wrap=True,
    )
    _say_kin(plan.cast.kin, flags)
    shown.print(f"Folder: {plan.folder.path}", soft_wrap=True)
    return 0


def _show(done: "Done", flags: argparse.Namespace) -> None:
    if flags.json:
        print_json(
            {
                "folder": str(done.folder),
                "funnel": done.funnel,
                "short": done.short,
                "own": done.own,
                "kin": done.kin,
            }
        )
        return
    from rich.table import Table

    shown = console(flags)
    table = Table(title="What came through", title_justify="left")
    for column in ("stage", "rows", "kept", "dropped"):
        table.add_column(column, justify="right" if column in ("rows", "kept") else "left", overflow="fold")
    for line in done.funnel:
        dropped = ", ".join(f"{reason} {count:,}" for reason, count in line["dropped"].items())
        table.add_row(line["stage"], f"{line['rows']:,}", f"{line['kept']:,}", dropped)
    shown.print(table)
    for stage in done.own:
        shown.print(f"The file of {stage} is your own, and was used as it is.")
    if done.short:
        missing = ", ".join(f"{domain} {count:,}" for domain, count in done.short.items())
        shown.print(f"Missing: {missing}; nothing was filled with duplicates.", soft_wrap=True)
    _say_kin(done.kin, flags)
    shown.print(f"Written to {done.folder}", soft_wrap=True)


def _say_kin(kin: Sequence[str], flags: argparse.Namespace) -> None:
    if kin:
        console(flags).print(
            f"Of the panel, {', '.join(kin)} judge what they wrote themselves.", soft_wrap=True
        )


def _review(wanted: "Wanted", own: Mapping[str, Any], flags: argparse.Namespace) -> int:
    """Write a sample for people, or take in their answers."""
    from kalign.synthesis import folder, pipeline

    if not wanted.out or "file" not in own:
        raise ConfigError(
            "review needs out=DIR and file=FILE.jsonl; rows=N writes a sample, without it answers are read"
        )
    if not folder.asked(folder.Folder(wanted.out)):
        raise ConfigError(f"{wanted.out} holds no pipeline; give the folder that kalign synth wrote as out=")
    if own.get("rows", 1) < 1:
        raise ConfigError(f"rows={own['rows']} must be at least 1; it is how many rows people look at")
    asked = pipeline.plan(wanted)
    if "rows" in own:
        count = pipeline.export_review(asked, own["file"], own["rows"])
        if flags.json:
            print_json({"file": str(own["file"]), "rows": count})
        else:
            print(f"{count} rows for people in {own['file']}; answers go under responses")
        return 0
    _show_review(pipeline.import_review(asked, own["file"]), flags)
    return 0


def _show_review(found: "Review", flags: argparse.Namespace) -> None:
    if flags.json:
        print_json(found.as_dict())
        return
    from rich.table import Table

    table = Table(
        title=f"{found.people} people on {found.rows} rows, against the panel", title_justify="left"
    )
    for column in ("criterion", "items", "alike", "Cohen's kappa", "alpha among people"):
        table.add_column(column, justify="left" if column == "criterion" else "right")
    for one in found.agreement:
        numbers = (one.agreeing, one.cohen, one.krippendorff)
        table.add_row(
            one.criterion, str(one.items), *("–" if value is None else f"{value:.3f}" for value in numbers)
        )
    shown = console(flags)
    shown.print(table)
    shown.print(f"People refused {len(found.refused)} rows; 'kalign synth triplets out=DIR' leaves them out.")


COMMANDS: Mapping[str, Command] = {
    "synth": Command(
        run=synth,
        summary="make preference triplets from a culture pack, against a target model",
        example="kalign synth pipeline=ko_dpo target=qwen size=10000",
        words="[STAGE] [pipeline=NAME] [target=MODEL] [size=N] [providers=local] [transport=batch] [out=DIR] "
        "[shards=N hydra/launcher=submitit_slurm] [KEY=VALUE ...]",
        about_words="STAGE is seeds, attack, respond, judge, triplets (each reads the file before it and "
        "writes its own; a file of yours in its place is used), or review (out=DIR file=FILE.jsonl rows=N "
        "writes a sample for people; without rows their answers are read). transport=batch asks by vendors' "
        "batches. shards=N does N parts as a Slurm array, with hydra.launcher.KEY as for trainings, waits, "
        "and joins them. Keys are those of conf/pipeline and, as judge.KEY, of conf/judge.",
        flags={
            "--dry-run": {"action": "store_true", "help": "calls, tokens and cost at most; sends nothing"},
            "--shard": {
                "metavar": "I/N",
                "help": "one part of the seeds, such as 0/8; a run without it joins all",
            },
            "--offline": {"action": "store_true", "help": "answer from the ledger alone"},
            "--accept-change": {
                "metavar": "KEY",
                "action": "append",
                "help": "go on in a folder that was made with another value of KEY",
            },
        },
    ),
}
