"""The stages one after another, or one of them: settings, folder, ledger and servers around them."""

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from kalign import files, runs
from kalign.config import words as plain
from kalign.errors import ConfigError, DataError
from kalign.judging import Panel, quorum
from kalign.packs.pack import Pack
from kalign.providers import Engine
from kalign.providers.deferred import Deferred, Transport
from kalign.providers.local import started
from kalign.providers.posting import Batches
from kalign.providers.rays import Rays
from kalign.records import Judged
from kalign.synthesis import (
    attack,
    calibration,
    card,
    estimate,
    folder,
    held_out,
    judge,
    report,
    respond,
    review,
    seeds,
    settings,
    tally,
    texts,
    triplets,
    validity,
)
from kalign.synthesis.allocation import planned
from kalign.synthesis.cast import Cast, cast, name, require_licences
from kalign.synthesis.folder import STAGES, Folder
from kalign.synthesis.settings import Pipeline
from kalign.synthesis.tally import Tally
from kalign.synthesis.texts import Texts
from kalign.synthesis.triplets import Selection
from kalign.synthesis.work import Work

MAKE: Mapping[str, Callable[[Work, Any], Iterable[Any]]] = {
    "attack": attack.run,
    "respond": respond.run,
    "judge": lambda work, rows: work.blocks(rows, lambda block: judge.run(work, block)),
}
BEFORE = {"attack": "seeds", "respond": "attack", "judge": "respond", "triplets": "judge"}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the command line asked for."""

    words: tuple[str, ...]
    stage: str | None = None  # None: all of them
    out: Path | None = None
    shard: tuple[int, int] = (0, 1)
    offline: bool = False
    accept_change: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A composed pipeline, before anything is sent."""

    pipeline: Pipeline
    panel: Panel
    cast: Cast
    texts: Texts
    folder: Folder
    words: tuple[str, ...]

    def estimate(self) -> list[estimate.Line]:
        """What the first wave takes."""
        return estimate.lines(self.pipeline, self.cast, self.texts, self.panel)

    def determining(self) -> dict[str, Any]:
        """What decides the triplets: settings, panel, models, and the pack's files."""
        panel = {f"judge.{key}": value for key, value in self.panel.determining().items()}
        models = {f"models.{role}": model for role, model in _numbered(self.cast.identified())}
        pack = {"pack_sha256": self.texts.pack.sha256}
        return {**self.pipeline.determining(), **panel, **models, **pack}


@dataclass(frozen=True, kw_only=True)
class Done:
    """What came of it."""

    folder: Path
    funnel: list[dict[str, Any]]
    short: dict[str, int]  # missing rows by domain
    own: list[str] = field(default_factory=list)  # stages whose file is the user's
    kin: list[str] = field(default_factory=list)  # families that judge what they wrote themselves


def plan(wanted: Wanted) -> Plan:
    """Compose and check what was asked for; a folder that exists brings the words it was made with.

    Raises:
        ConfigError: a word, a role or a licence does not allow it.
        IntegrityError: the folder was made with other settings.
    """
    before = folder.asked(Folder(wanted.out)) if wanted.out else {}
    given = {word.partition("=")[0] for word in wanted.words}
    kept = [word for word in _words(before) if word.partition("=")[0] not in given]
    words = (*kept, *wanted.words)
    pipeline, panel = settings.load(words)
    as_of = pipeline.as_of or before.get("as_of") or str(date.today())
    pipeline = replace(pipeline, as_of=as_of)
    held_out.require_files(pipeline.held_out)
    played = cast(pipeline, panel)
    require_licences(played, pipeline.accept_licence_of)
    told = texts.of(pipeline.pack, plain.day("as_of", as_of))
    made = Plan(pipeline=pipeline, panel=panel, cast=played, texts=told, folder=Folder(Path()), words=words)
    quorum.needed(panel.rule, len(played.panel))
    label = f"{pipeline.name}-{runs.fingerprint(made.determining())[:8]}"
    place = Folder(wanted.out or Path("synth") / label)
    folder.require_same(place, made.determining(), wanted.accept_change)
    return replace(made, folder=place)


def _words(before: Mapping[str, Any]) -> list[str]:
    """The words that a folder was made with."""
    words = before.get("words", [])
    return [word for word in words if isinstance(word, str)] if isinstance(words, list) else []


def run(wanted: Wanted) -> Done:
    """Run the pipeline, or one stage of it.

    Raises:
        Interrupted: something is left for the next run of the same command.
        DataError: a judge answered too little, or nothing came out at all.
    """
    asked = plan(wanted)
    asked = _with_share(asked, wanted.shard[1])
    whole = asked.folder
    place = whole if wanted.shard[1] == 1 else whole.shard(*wanted.shard)
    with folder.private():
        place.path.mkdir(parents=True, exist_ok=True)
        with _working(asked, place, wanted) as work:
            _remember(whole, asked)  # now that no other process works here
            if wanted.shard[1] > 1:
                for stage in STAGES[:-1]:
                    _stage(work, place, whole, stage)
                files.write_json(place.done, {"fingerprint": runs.fingerprint(asked.determining())})
                return _so_far(work, place)
            if wanted.stage is None:
                return _all(work, place)
            if wanted.stage != "triplets":
                place.require_not_own(wanted.stage)
                _stage(work, place, whole, wanted.stage)
                return _so_far(work, place)
            place.made("judge")
            counted = tally.of(place)
            _require_coverage(work, place, counted)
            return _finish(work, place, counted, _selection(work, place))


def _with_share(asked: Plan, shards: int) -> Plan:
    """The plan with the part of the budget that one shard may spend, which knows nothing of the others."""
    if asked.pipeline.budget is None:
        return asked
    return replace(asked, pipeline=replace(asked.pipeline, budget=asked.pipeline.budget / shards))


def prepare(asked: Plan) -> None:
    """Write down what was asked for, so that shards on other machines, and on another day, do the same."""
    with folder.private():
        _remember(asked.folder, asked)
        _waves(asked.pipeline, asked.texts.pack, asked.folder)


def is_done(asked: Plan, which: int, of: int) -> bool:
    """Whether a shard of the pipeline was done with these very settings."""
    place = asked.folder.shard(which, of)
    if not place.done.is_file():
        return False
    noted = json.loads(place.done.read_text(encoding="utf-8"))
    return bool(noted.get("fingerprint") == runs.fingerprint(asked.determining()))


@contextlib.contextmanager
def _working(asked: Plan, place: Folder, wanted: Wanted) -> Iterator[Work]:
    """A work with an open engine, and servers where models are local."""
    with contextlib.ExitStack() as running:
        played = asked.cast.identified()
        if not wanted.offline and wanted.stage != "triplets" and asked.pipeline.transport != "ray":
            played = asked.cast.served(running.enter_context(started(asked.cast.all)))
        engine = running.enter_context(
            Engine(place.ledger, budget=asked.pipeline.budget, offline=wanted.offline)
        )
        if wanted.shard[1] == 1 and (ledgers := place.shards()):
            engine.ledger.merge(ledgers)
        transport = None if wanted.offline else _transport(asked, place)
        if transport is not None:
            running.callback(transport.close)
        yield Work(
            deferred=None if transport is None else Deferred(transport, engine),
            pipeline=asked.pipeline,
            panel=asked.panel,
            cast=played,
            pack=asked.texts.pack,
            texts=asked.texts,
            engine=engine,
            on=asked.texts.on,
            shard=wanted.shard,
        )


def _transport(asked: Plan, place: Folder) -> Transport | None:
    """How requests go that are not sent one by one."""
    pipeline = asked.pipeline
    if pipeline.transport == "batch":
        return Batches(place.batches, poll=pipeline.poll_seconds, budget=pipeline.budget)
    if pipeline.transport == "ray":
        return Rays(pipeline.ray, asked.cast.all, budget=pipeline.budget)
    return None


def _so_far(work: Work, place: Folder) -> Done:
    own = [stage for stage in STAGES[:-1] if place.is_own(stage)]
    funnel = report.funnel(tally.of(place), None)
    return Done(folder=place.path, funnel=funnel, short={}, own=own, kin=work.cast.kin)


def _all(work: Work, place: Folder) -> Done:
    """Every stage, and again with more seeds for what is short, as often as there may be waves."""
    while True:
        for stage in STAGES[:-1]:
            _stage(work, place, place, stage)
        counted = tally.of(place)
        _require_coverage(work, place, counted)
        selection = _selection(work, place)
        waves = _waves(work.pipeline, work.pack, place)
        further = triplets.more(selection, work.pipeline.seeds.surplus)
        if not further or len(waves) >= work.pipeline.waves or place.is_own("seeds"):
            return _finish(work, place, counted, selection)
        files.write_json(place.plan, [*waves, further])


def _stage(work: Work, place: Folder, whole: Folder, stage: str) -> None:
    """Make one stage's file, unless it is the user's own; in several goes, where answers come together."""
    if place.is_own(stage):
        return
    if work.deferred is None:
        _make(work, place, whole, stage)
    else:
        work.deferred.until_settled(lambda: _make(work, place, whole, stage))


def _make(work: Work, place: Folder, whole: Folder, stage: str) -> None:
    work.account.clear()
    started_at = time.monotonic()
    made: Iterable[Any]
    if stage == "seeds":
        made = seeds.run(work, _waves(work.pipeline, work.pack, whole))
    else:
        before = BEFORE[stage]
        if stage == "judge":
            _calibrate(work, place)
        made = MAKE[stage](work, validity.placed(work, place.read(before, tally.KINDS[before])))

    def said() -> dict[str, Any]:
        account = {f"{role}|{model}": asdict(asked) for (role, model), asked in work.account.items()}
        return {"account": account, "seconds": round(time.monotonic() - started_at, 1)}

    place.write(stage, made, said)


def _calibrate(work: Work, place: Folder) -> None:
    """Refuse a panel with a judge that texts talk round, after a report that shows it.

    Raises:
        DataError: there is such a judge.
    """
    try:
        calibration.run(work, place)
    except DataError:
        report.write(work, place, tally.of(place), None)
        raise


def _waves(pipeline: Pipeline, pack: Pack, place: Folder) -> list[dict[str, int]]:
    """How many seeds of each type each wave draws: the first is even, the others are what was short."""
    if place.plan.is_file():
        waves: list[dict[str, int]] = folder.read_json(place.plan)
        known = {one.id for one in pack.taxonomy.types}
        if not isinstance(waves, list) or not all(
            isinstance(one, dict) and one.keys() <= known for one in waves
        ):
            raise DataError(f"{place.plan} is not what kalign wrote; remove it to draw the seeds anew")
        return waves
    first = planned(math.ceil(pipeline.size * pipeline.seeds.surplus), pack.taxonomy)
    files.write_json(place.plan, [first])
    return [first]


def _require_coverage(work: Work, place: Folder, counted: Tally) -> None:
    """Refuse a panel that answered too little, after a report that shows it.

    Raises:
        DataError: a judge did not validly answer enough.
    """
    try:
        judge.require_coverage(work, counted.panels)
    except DataError:
        report.write(work, place, counted, None)
        raise


def _selection(work: Work, place: Folder) -> Selection:
    refused = review.refused(place.review)
    return triplets.select(
        place.made("judge"),
        work.pack.taxonomy,
        size=work.pipeline.size,
        likeness=work.likeness(),
        refused=refused,
        fault=partial(validity.fault, work),
    )


def _finish(work: Work, place: Folder, counted: Tally, selection: Selection) -> Done:
    """Write the data set, its card and the report.

    Raises:
        DataError: there is not a single triplet.
    """
    funnel = report.funnel(counted, selection)
    triplets.write(place.path, selection, work.pack.taxonomy)
    told = card.text(work.pipeline, work.panel, work.cast, work.texts, selection, funnel)
    with files.atomic(place.path / "README.md") as partial:
        partial.write_text(told, encoding="utf-8")
    report.write(work, place, counted, selection)
    if not selection:
        reasons = "; ".join(f"{one['stage']}: {one['kept']} of {one['rows']} kept" for one in funnel)
        raise DataError(
            f"no triplet came out of it ({reasons}); {place.path / 'report.html'} says why, and stronger "
            "models may do better"
        )
    own = [stage for stage in STAGES[:-1] if place.is_own(stage)]
    short = {name: count for name, count in selection.short(work.pack.taxonomy).items() if count}
    return Done(folder=place.path, funnel=funnel, short=short, own=own, kin=work.cast.kin)


def _remember(place: Folder, asked: Plan) -> None:
    place.path.mkdir(parents=True, exist_ok=True)
    content = {
        "words": list(asked.words),
        "as_of": asked.pipeline.as_of,
        "determining": asked.determining(),
    }
    before = folder.asked(place)
    if before == content:
        return
    if before.get("determining") != json.loads(runs.canonical(content["determining"])):
        place.plan.unlink(missing_ok=True)  # of other settings: what is made anew ends as a new folder would
    files.write_json(place.asked, content)


def _numbered(played: Cast) -> list[tuple[str, str]]:
    """Each role with its model and revision, told apart by a number where several models play one."""
    revisions = {name(one): one.revision or "" for one in played.all}
    counts: dict[str, int] = {}
    found = []
    for role, model, _ in played.roles():
        counts[role] = counts.get(role, 0) + 1
        found.append((f"{role} {counts[role]}", f"{model}@{revisions[model]}".rstrip("@")))
    return found


def export_review(asked: Plan, path: Path, count: int) -> int:
    """Write a sample for people to `path`, and return how many rows it has.

    Raises:
        ConfigError: a file stands there already, which may hold answers.
    """
    if path.exists():
        raise ConfigError(f"{path} exists already, and may hold answers; give another name")
    with folder.private():
        rows = review.sample(asked.folder.read("judge", Judged), count)
        review.write(path, rows)
    return len(rows)


def import_review(asked: Plan, path: Path) -> review.Review:
    """Take in what people answered; the next `kalign synth triplets` leaves out what they refused."""
    found = review.read(path, asked.folder.read("judge", Judged))
    with folder.private():
        files.write_json(asked.folder.review, found.as_dict())
    return found
