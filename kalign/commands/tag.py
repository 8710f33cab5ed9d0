"""The command that tags what culture each text of a data set holds."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from kalign.commands.command import Command, console, print_json

if TYPE_CHECKING:
    from pathlib import Path

    from kalign.markers.corpora import Corpus
    from kalign.markers.tagger import Tagger
    from kalign.providers.deferred import Transport

SETTINGS: Mapping[str, str | None] = {
    "data.path": None,
    "data.revision": None,
    "data.subset": None,
    "data.split": "train",
    "data.columns.text": "prompt",
    "stage": "alignment",
    "name": "data",
    "tagger": "rules",
    "share": "1",
    "shard": None,
    "shards": None,
    "transport": "live",
    "poll_seconds": "60",
    "ray.actors": "2",
    "ray.gpus": "0",
    "ray.rows": "64",
    "out": None,
}


def tag(words: list[str], flags: argparse.Namespace) -> int:
    """Write what culture each text of a data set holds into a file beside it, which itself stays as it is."""
    from pathlib import Path

    from kalign.config import words as plain
    from kalign.errors import ConfigError
    from kalign.markers import taggers, tagging
    from kalign.sweeps import arrays, slurm

    options, words = slurm.taken(words)
    given = plain.read(words, settings=SETTINGS)
    if not given["data.path"]:
        raise ConfigError("data.path is missing; give data.path=FILE, a folder, pack:NAME or hub:OWNER/NAME")
    corpus = _corpus(given)
    tagger = taggers.named(str(given["tagger"]))
    out = Path(given["out"]) if given["out"] else tagging.folder(corpus, tagger)
    shard = tagging.Shard(*plain.shard(f"shard={given['shard']}")) if given["shard"] else None
    jobs = arrays.taken(options, plain.count("shards", given["shards"]) if given["shards"] else None)
    transport = _transport(given, tagger, out)
    if jobs is not None:
        if shard is not None:
            raise ConfigError("shards=N queues every part; leave shard= away")
        if code := _queued(words, out, jobs, options or {}):
            return code
    with taggers.ready(tagger, out, shard, transport):
        path = taggers.until_settled(tagger, lambda: tagging.tag(corpus, tagger, out, shard))
    if path is None:
        console(flags).print(
            f"Shard {given['shard']} is done; the same command without shard= joins them all"
        )
    else:
        _say_tags(path, flags)
    return 0


def _corpus(given: Mapping[str, str | None]) -> "Corpus":
    """The data set that words name."""
    from kalign.config import Source
    from kalign.config import words as plain
    from kalign.markers.corpora import Corpus

    return Corpus(
        name=str(given["name"]),
        stage=str(given["stage"]),
        source=Source(
            path=given["data.path"],
            revision=given["data.revision"],
            subset=given["data.subset"],
            split=str(given["data.split"]),
        ),
        columns={"text": str(given["data.columns.text"])},
        share=plain.number("share", given["share"]),
    )


def _transport(given: Mapping[str, str | None], tagger: "Tagger", out: "Path") -> "Transport | None":
    """How a tagger asks its model, as words say; None for one request after the other."""
    from kalign.config import words as plain
    from kalign.config.rules import above
    from kalign.markers import taggers

    actors = {key: plain.count(f"ray.{key}", str(given[f"ray.{key}"])) for key in ("actors", "rows")}
    gpus = plain.number("ray.gpus", given["ray.gpus"])
    poll = plain.number("poll_seconds", given["poll_seconds"])
    above("poll_seconds", poll, 0)
    return taggers.transport(str(given["transport"]), tagger, out, poll, {**actors, "gpus": gpus})


def _queued(words: Sequence[str], out: "Path", jobs: int, options: Mapping[str, Any]) -> int:
    """Tag the parts as jobs of a Slurm array; 0 once all are there, and can be joined."""
    from kalign.markers import tagging
    from kalign.sweeps import arrays

    kept = [word for word in words if not word.startswith(("shards=", "out="))]
    each = [["tag", *kept, f"out={out.absolute()}", f"shard={number}/{jobs}"] for number in range(jobs)]
    array = arrays.Array(
        words=each,
        done=lambda number: tagging.is_done(out, tagging.Shard(number=number, of=jobs)),
        folder=out / "jobs",
    )
    return arrays.run(array, options)


def _say_tags(path: "Path", flags: argparse.Namespace) -> None:
    """Print what a file of tags holds, and where it lies."""
    from rich.table import Table

    from kalign.markers import tagging, tally
    from kalign.statistics import wilson

    counted = tally.of(tagging.rows(path))
    table = Table(title="Tags, shares with 95 % intervals", title_justify="left")
    for column in ("texts", "count", "share"):
        table.add_column(column, justify="left" if column == "texts" else "right")
    for status, count in sorted(counted.statuses.items()):
        table.add_row(f"status {status}", f"{count:,}", "")
    counts = {"cultural": counted.cultural, **counted.classes}
    counts |= {f"country {code}": count for code, count in counted.geo.most_common(5)}
    for name, count in counts.items():
        table.add_row(name, f"{count:,}", str(wilson(count, counted.ok)) if counted.ok else "-")
    shown = console(flags)
    shown.print(table)
    shown.print(f"Tags: {path}", soft_wrap=True)
    if flags.json:
        share = counted.share()
        print_json(
            {
                "tags": str(path),
                "statuses": dict(counted.statuses),
                "cultural_share": asdict(share) if share else None,
                "classes": dict(counted.classes),
                "countries": dict(counted.geo.most_common()),
            }
        )


COMMANDS: Mapping[str, Command] = {
    "tag": Command(
        run=tag,
        summary="tag what culture each text of a data set holds",
        example="kalign tag data.path=my.jsonl tagger=rules out=tags",
        words="data.path=DATA [tagger=rules] [data.columns.text=prompt] [stage=alignment] [share=1] "
        "[shard=K/N] [shards=N hydra/launcher=submitit_slurm] [transport=batch|ray] [out=DIR]",
        about_words="DATA is a file, a folder, pack:NAME or hub:OWNER/NAME (with data.revision, data.subset, "
        "data.split); data.columns.text holds a text or a list of messages; tagger is rules, local, or a "
        "provider such as openai:MODEL or mine.yaml. share reads a seeded part of the rows; shard=0/4 makes "
        "a quarter of the parts, and the same command without it joins them; shards=4 does all as a Slurm "
        "array, with hydra.launcher.KEY as for trainings. transport=batch asks a model by its vendor's "
        "batches, transport=ray by ray.actors=2 actors with ray.gpus each. A killed command goes on where it "
        "stopped.",
    ),
}
