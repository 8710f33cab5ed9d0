"""Judges on labelled answers: asked, measured, and kept for evaluations that correct by their errors.

evals/judges-1a2b3c4d/
    ledger.sqlite      every verdict of a model, asked for once
    verdicts.jsonl     the labelled answers, with what each judge said
    calibration.json   sensitivity, specificity, agreement, repeatability, order and length
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

from rich.console import Console

from kalign import files, runs
from kalign.config import Source
from kalign.data import sources
from kalign.errors import ConfigError, DataError, IntegrityError
from kalign.evaluation import calibration_tables, concord, judges, panels, quality
from kalign.evaluation.judges import Grounds, Judge, RuleJudge, Vote
from kalign.evaluation.panels import ModelJudge
from kalign.evaluation.quality import Errors, Labelled
from kalign.evaluation.questions import Question
from kalign.providers import Engine, local
from kalign.runs import Run

FILE = "calibration.json"
PANEL = "panel"  # the name of what all judges say together
COLUMNS = {  # the last three may be missing
    "prompt": "prompt",
    "response": "response",
    "label": "label",
    "category": "category",
    "id": "id",
    "model": "model",
}
NEEDED = ("prompt", "response", "label")
LEAST = 20  # answers that are asked again, where there are so many


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a user asks for; `safe` is the label of a safe answer, `repeat` the share that is asked again."""

    labels: Path
    columns: Mapping[str, str] = field(default_factory=lambda: COLUMNS)
    safe: str = "safe"
    judges: tuple[str, ...] = (judges.RULES,)
    pack: str = "ko"
    as_of: date = field(default_factory=date.today)
    repeat: float = 0.05
    out: str | None = None


def calibrate(wanted: Wanted, console: Console) -> Path:
    """Ask the judges about every labelled answer, measure them, print the tables, and return the folder.

    Raises:
        KalignError: of the category that says who can mend it.
    """
    items = read(wanted.labels, wanted.columns, wanted.safe)
    grounds = Grounds(wanted.pack, wanted.as_of)
    models = panels.providers(wanted.judges)
    about = {
        "judges": [*([judges.RULES] if judges.RULES in wanted.judges else []), *panels.names(models)],
        "pack": grounds.pack,
        "rubrics_sha256": files.sha256(panels.RUBRICS),
        "as_of": str(wanted.as_of),
        "labels_sha256": files.sha256(wanted.labels),
        "columns": dict(wanted.columns),
        "safe": wanted.safe,
        "repeat": wanted.repeat,
    }
    folder = Path(wanted.out or f"evals/judges-{runs.fingerprint(about)[:8]}").expanduser()
    console.print(f"{len(items)} labelled answers → {folder}", soft_wrap=True)
    with runs.locked(Run(folder)), contextlib.ExitStack() as opened:
        panel: list[Judge] = [RuleJudge(grounds)] if judges.RULES in wanted.judges else []
        if models:
            engine = opened.enter_context(Engine(folder / "ledger.sqlite"))
            panel += panels.judges(opened.enter_context(local.started(models)), engine, grounds.pack)
        votes = {judge.name: ask(judge, items) for judge in panel}
        again = _again(items, wanted.repeat)
        document = {**about, **measured(items, votes), **_asked_again(panel, items, votes, again)}
        _write(folder, items, votes, document)
    calibration_tables.say(console, document, folder)
    return folder


def read(path: Path, columns: Mapping[str, str], safe: str) -> list[Labelled]:
    """The labelled answers of a file.

    Raises:
        DataError: a row lacks a field, or the labels are not two, of which one means safe.
    """
    found, labels = [], set()
    for row in sources.read(Source(path=str(path))).rows:
        where = f"{path}: row {row.number}"
        if missing := [columns[one] for one in NEEDED if columns[one] not in row.content]:
            raise DataError(
                f"{where} has no field {missing[0]!r}, only {', '.join(row.content)}; declare the columns as "
                "the file has them, columns=prompt:...,response:...,label:..."
            )
        told = {one: row.content.get(name) for one, name in columns.items()}
        label = str(told["label"]).strip().casefold()
        labels.add(label)
        name = told["id"] if told["id"] is not None else row.number
        found.append(
            Labelled(
                question=Question(
                    id=str(name),
                    set="labels",
                    kind="harmful",
                    category=str(told["category"] or "-"),
                    family=str(name),
                    text=str(told["prompt"]),
                ),
                answer=str(told["response"]),
                safe=label == safe.casefold(),
                model=str(told["model"]) if told["model"] is not None else None,
            )
        )
    if len({one.question.id for one in found}) < len(found):
        raise DataError(f"{path} has an id twice; give every answer one of its own, or declare no column id")
    if len(labels) != 2 or safe.casefold() not in labels:
        raise DataError(
            f"{path} has the labels {', '.join(sorted(labels))}; there must be two, and safe={safe} must "
            "name that of a safe answer"
        )
    return found


def ask(judge: Judge, items: Sequence[Labelled]) -> list[Vote]:
    """What a judge says of each answer."""
    return judge([one.question for one in items], [one.answer for one in items])


def measured(items: Sequence[Labelled], votes: Mapping[str, Sequence[Vote]]) -> dict[str, Any]:
    """Everything that verdicts on labelled answers say of the judges, and of all of them together."""
    rulings = [
        judges.together({name: given[place] for name, given in votes.items()}) for place in range(len(items))
    ]
    every = {**votes, PANEL: [Vote(verdict=ruling.verdict) for ruling in rulings]}
    return {
        "answers": len(items),
        "quality": {name: quality.of_judge(items, given) for name, given in every.items()},
        "length": {name: quality.length(items, given) for name, given in every.items()},
        "agreement": concord.of_rulings(rulings),
    }


def load(folder: Path, names: Sequence[str], pack: str) -> Errors:
    """The errors of a panel as a calibration found them.

    Raises:
        ConfigError: there is no calibration.
        DataError: nothing can be corrected by it.
        IntegrityError: it is one of other judges, or of another rubric.
    """
    path = folder.expanduser() / FILE
    if not path.is_file():
        raise ConfigError(f"calibration={folder} holds no {FILE}; kalign eval judges labels=FILE makes one")
    document = json.loads(path.read_text(encoding="utf-8"))
    same = {"judges": list(names), "pack": pack, "rubrics_sha256": files.sha256(panels.RUBRICS)}
    if other := [key for key, value in same.items() if document[key] != value]:
        raise IntegrityError(
            f"{path} was made with {other[0]}={document[other[0]]}, and this evaluation has "
            f"{same[other[0]]}; the errors of one panel correct no other: calibrate these judges"
        )
    return quality.errors(document["quality"][PANEL]["all"])


def _again(items: Sequence[Labelled], share: float) -> list[Labelled]:
    """Those that are asked again: always the same ones, whatever their order in the file."""
    count = min(len(items), max(LEAST, round(share * len(items)))) if share else 0
    by_hash = sorted(items, key=lambda one: sha256(f"{one.question.id}\0{one.answer}".encode()).digest())
    return by_hash[:count]


def _asked_again(
    panel: Sequence[Judge],
    items: Sequence[Labelled],
    votes: Mapping[str, Sequence[Vote]],
    again: Sequence[Labelled],
) -> dict[str, Any]:
    """What models say when they are asked the same once more, and with the verdicts in the other order."""
    place = {one.question.id: number for number, one in enumerate(items)}
    found: dict[str, Any] = {"repeated": {}, "order": {}}
    for judge in panel:
        if isinstance(judge, ModelJudge) and again:
            first = [votes[judge.name][place[one.question.id]] for one in again]
            found["repeated"][judge.name] = quality.repeated(first, ask(replace(judge, sample=1), again))
            found["order"][judge.name] = quality.order(first, ask(replace(judge, turned=True), again))
    return found


def _write(
    folder: Path,
    items: Sequence[Labelled],
    votes: Mapping[str, Sequence[Vote]],
    document: Mapping[str, Any],
) -> None:
    rows = (
        {
            "id": one.question.id,
            "category": one.question.category,
            "model": one.model,
            "safe": one.safe,
            "verdicts": {name: given[number].verdict for name, given in votes.items()},
        }
        for number, one in enumerate(items)
    )
    files.write_jsonl(folder / "verdicts.jsonl", rows)
    files.write_json(folder / FILE, document)
