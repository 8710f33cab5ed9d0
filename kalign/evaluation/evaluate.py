"""One evaluation: questions, answers, verdicts and sums, in this order and in one folder.

evals/ko-tiny-1a2b3c4d-5e6f7a8b/
    responses/      model.jsonl and base.jsonl: every answer, each asked for once
    scores.parquet  one row an answer: verdict, refusal, citations, votes
    eval.json       sums, intervals, comparison, verdict; written last
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console

from kalign import files, runs
from kalign.evaluation import (
    answering,
    calibration,
    compare,
    concord,
    correction,
    judges,
    panels,
    questions,
    responses,
    results,
    scores,
    suite,
    summary,
    tables,
)
from kalign.evaluation.answering import Models
from kalign.evaluation.judges import Grounds, Judge, RuleJudge
from kalign.evaluation.quality import Errors
from kalign.evaluation.questions import Question
from kalign.evaluation.scores import Score
from kalign.evaluation.suite import Suite
from kalign.providers import Engine, Provider, local
from kalign.records import Said
from kalign.runs import Run


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a user asks for."""

    suite: str
    model: str
    base: str | None = None  # "true": the model without its adapter; else what it is compared with
    family: str | None = None
    out: str | None = None
    judges: tuple[str, ...] = (judges.RULES,)
    calibration: Path | None = None  # the folder that says how often these judges are right
    as_of: date = field(default_factory=date.today)
    batch: int = 16
    max_new_tokens: int = 512
    paths: Mapping[str, str] = field(default_factory=dict)


def evaluate(wanted: Wanted, console: Console) -> Path:
    """Evaluate, print the tables, and return the folder.

    Raises:
        KalignError: of the category that says who can mend it.
    """
    asked = suite.load(wanted.suite, wanted.paths)
    found = asked.questions()
    grounds = Grounds(asked.pack, wanted.as_of)
    models = panels.providers(wanted.judges)  # refused before anything is loaded
    errors = _errors(wanted, grounds, models)
    asked_models = answering.resolve(wanted.model, wanted.base, wanted.family)
    tables.print_plan(console, asked, found)
    folder = _folder(wanted, asked, found, asked_models)
    console.print(f"{asked_models.model.name} → {folder}", soft_wrap=True)
    with runs.locked(Run(folder)), contextlib.ExitStack() as opened:
        engine = _engine(folder, opened) if models or asked_models.remote else None
        said, how = _answers(wanted, folder, found, asked_models, engine)
        panel = _panel(wanted, grounds, models, engine, opened)
        rulings = {
            name: judges.panel(panel, found, [one.text for one in answers]) for name, answers in said.items()
        }
        rows = [
            row
            for name, answers in said.items()
            for row in scores.scored(name, found, answers, rulings[name], grounds)
        ]
        if asked_models.base and not answering.shared(asked_models):
            by_model = {name: [row for row in rows if row.model == name] for name in said}
            compare.require_different(
                compare.paired(by_model["base"], by_model["model"]),
                (asked_models.base.name, asked_models.model.name),
            )
        scores.write(folder / scores.FILE, rows)
        result = {
            "suite": asdict(asked),
            "questions": questions.digest(found),
            "model": asked_models.named("model"),
            "base": asked_models.named("base"),
            "asked": how,
            "judges": [judge.name for judge in panel],
            "as_of": str(wanted.as_of),
            "scores_sha256": files.sha256(folder / scores.FILE),
            "versions": runs.versions(),
            "agreement": {name: concord.of_rulings(some) for name, some in rulings.items()},
            **_sums(asked, rows, errors),
        }
        files.write_json(folder / results.FILE, result)
    tables.say(console, result, folder)
    for line in correction.about_judges(result):
        console.print(line, soft_wrap=True)
    for name in said:
        summary.require_coverage(name, [row for row in rows if row.model == name])
    return folder


def _sums(asked: Suite, rows: Sequence[Score], errors: Errors | None) -> dict[str, Any]:
    by_model = {
        name: [row for row in rows if row.model == name] for name in dict.fromkeys(row.model for row in rows)
    }
    sums = {name: summary.of_model(some) for name, some in by_model.items()}
    compared = None
    if "base" in by_model:
        pairs = compare.paired(by_model["base"], by_model["model"])
        compared = compare.models(pairs, primary=asked.primary, margin=asked.margin)
    corrected = correction.of(sums, compared, errors) if errors else None
    return {"models": sums, "comparison": compared, "corrected": corrected}


def _errors(wanted: Wanted, grounds: Grounds, models: Sequence[Provider]) -> Errors | None:
    """What a calibration says of the judges, before anybody is asked; None where none is given."""
    if wanted.calibration is None:
        return None
    names = [*([judges.RULES] if judges.RULES in wanted.judges else []), *panels.names(models)]
    return calibration.load(wanted.calibration, names, grounds.pack)


def _engine(folder: Path, opened: contextlib.ExitStack) -> Engine:
    return opened.enter_context(Engine(folder / "ledger.sqlite"))


def _panel(
    wanted: Wanted,
    grounds: Grounds,
    models: Sequence[Provider],
    engine: Engine | None,
    opened: contextlib.ExitStack,
) -> list[Judge]:
    """The judges in the order of the words; servers of this machine are started for those that need one."""
    found: list[Judge] = [RuleJudge(grounds)] if judges.RULES in wanted.judges else []
    if engine is not None and models:
        ready = opened.enter_context(local.started(models))
        found += panels.judges(ready, engine, grounds.pack)
    return found


def _folder(wanted: Wanted, asked: Suite, found: Sequence[Question], models: Models) -> Path:
    decided = {
        "questions": questions.digest(found),
        "whose": models.identities,
        "max_new_tokens": wanted.max_new_tokens,
    }
    return results.folder(wanted.out, f"{asked.name}-{models.model.name}", decided)


def _answers(
    wanted: Wanted, folder: Path, found: Sequence[Question], models: Models, engine: Engine | None
) -> tuple[dict[str, list[Said]], dict[str, Any]]:
    """The answers of the base, if one is asked, and of the model; and how they were asked for."""
    place = folder / "responses"
    place.mkdir(parents=True, exist_ok=True)
    said: dict[str, list[Said]] = {}
    how: dict[str, Any] = {}
    whose = models.identities
    asked = answering.each(models, found, engine, batch=wanted.batch, max_new_tokens=wanted.max_new_tokens)
    for name, asker in asked:
        how = asker.identity()
        said[name] = responses.collect(
            place / f"{name}.jsonl", found, asker, whose=whose[name], adapter=name == "model"
        )
    return said, how
