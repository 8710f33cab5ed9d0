"""One study: every model through its stages, then one table beside the paper's, one document, one page.

study-ko/
    as_of.json  the day on which laws and offices must exist: a study that goes on later keeps it
    done/       which stages are finished, by their words and the hash of what they wrote
    logs/       what each stage said
    evals/      the evaluation of each model, and a page of it beside its training
    study.json  every number
    report.html the page
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console

from kalign import files, runs, statistics, yaml_files
from kalign.errors import IntegrityError, KalignError
from kalign.evaluation import compare, panels, report, results, suite
from kalign.evaluation.scores import Score
from kalign.evaluation.study import findings, page, stages
from kalign.evaluation.study.stages import Part, Wanted, Work
from kalign.runs import Run

PAPER = Path(__file__).with_name("paper_ko.yaml")
NAME = "study.json"


def run(wanted: Wanted, work: Work, console: Console) -> dict[str, Any]:
    """Do what is left of the study, and write its document and its page.

    Raises:
        Interrupted: it was asked to leave; the same command goes on.
        KalignError: nothing was found, or what was found does not belong together.
    """
    suite.load(wanted.suite, wanted.sets).questions()  # refused now, not after the first training
    panels.providers(tuple(wanted.judge.split(",")))
    with runs.locked(Run(wanted.out)):
        files.write_json(wanted.out / "as_of.json", {"as_of": str(wanted.as_of)})
        parts = []
        for number, model in enumerate(wanted.recipes, start=1):
            console.print(f"[{number}/{len(wanted.recipes)}] {model}", style="bold")
            parts.append(stages.through(wanted, model, work, console))
        require_same_data(parts)
        document = made(wanted, parts)
        files.write_json(wanted.out / NAME, document)
        for part in parts:
            if not part.failed("train") and not part.failed("eval"):
                report.write([part.evaluation, part.run.path, *part.abilities.values()])
        with files.atomic(wanted.out / report.FILE) as partial:
            partial.write_text(page.page(document, parts, wanted.out), encoding="utf-8")
    return document


def require_same_data(parts: Sequence[Part]) -> None:
    """Refuse to compare models that learned from different pairs.

    Raises:
        IntegrityError: a file of pairs changed between two trainings.
    """
    trained = [part for part in parts if part.run.result.is_file()]
    found = {part.model: part.run.read_manifest()["inputs"]["data"] for part in trained}
    by_data: dict[str, str] = {}
    for model, data in found.items():
        by_data.setdefault(runs.canonical({name: one["sha256"] for name, one in data.items()}), model)
    if len(by_data) > 1:
        first, second, *_ = by_data.values()
        raise IntegrityError(
            f"{first} and {second} were trained on different pairs, because a file changed in between; "
            "restore it, or give another runs_dir and out to start afresh"
        )


def made(wanted: Wanted, parts: Sequence[Part]) -> dict[str, Any]:
    """Every number of the study, as plain values.

    A model that failed keeps its place: its claim counts as one that showed nothing, so that the others are
    held to the number of models that was planned.

    Raises:
        KalignError: no model was evaluated.
    """
    read = {
        part.model: results.read(part.evaluation)
        for part in parts
        if not part.failed("train") and not part.failed("eval")
    }
    if not read:
        raise _nothing(wanted, parts)
    claims = {model: compare.claim(result["comparison"]) for model, (result, _) in read.items()}
    nothing = [{"p_value": 1.0, "difference": {"value": 0.0, "low": 0.0, "high": 0.0}}]
    missing = nothing * (len(parts) - len(claims))
    held = dict(zip(claims, compare.of_several([*claims.values(), *missing]), strict=False))
    paper: dict[str, Any] = yaml_files.read(PAPER)
    some, _ = next(iter(read.values()))
    return {
        "study": "ko",
        "suite": some["suite"]["name"],
        "primary": some["suite"]["primary"],
        "judges": some["judges"],
        "as_of": some["as_of"],
        "max_new_tokens": some["asked"]["max_new_tokens"],
        "twins": any(recipe.model.twin for recipe in wanted.recipes.values()),
        "models": [
            findings.of_model(
                part,
                wanted.recipes[part.model],
                paper=paper["models"].get(part.model),
                claim=held.get(part.model),
                result=read[part.model][0] if part.model in read else None,
            )
            for part in parts
        ],
        "mean": mean({model: rows for model, (_, rows) in read.items()}, some["suite"]["primary"]),
        "abilities": findings.abilities(parts),
        "paper": {key: value for key, value in paper.items() if key != "models"},
        "versions": runs.versions(),
        "failures": [{"model": part.model, **asdict(one)} for part in parts for one in part.failures],
    }


def _nothing(wanted: Wanted, parts: Sequence[Part]) -> KalignError:
    """The error of a study in which no model came to its end, with the code of the first failure."""
    models: dict[str, list[str]] = {}
    for part in parts:
        for one in part.failures:
            models.setdefault(one.said, []).append(part.model)
    said = "; ".join(f"{', '.join(names)}: {sentence}" for sentence, names in models.items())
    wrong = KalignError(f"no model could be evaluated ({said}); {wanted.out / 'logs'} says more")
    wrong.exit_code = next(one.code for part in parts for one in part.failures)
    return wrong


def mean(by_model: Mapping[str, Sequence[Score]], primary: str) -> dict[str, Any]:
    """The mean gain over models in the claim's safe rate, with its interval over prompt families; the models
    are these, and no sample of others."""
    told: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    families: dict[tuple[str, str, str], str] = {}
    for rows in by_model.values():
        for row in rows:
            if row.set == primary and row.kind == "harmful":
                told.setdefault(row.key, {"base": [], "model": []})[row.model].append(row.verdict == "safe")
                families[row.key] = row.family
    keys = list(told)
    before = [fmean(told[key]["base"]) for key in keys]
    after = [fmean(told[key]["model"]) for key in keys]
    difference = statistics.paired_difference(before, after, clusters=[families[key] for key in keys])
    return {
        "models": len(by_model),
        "before": fmean(before),
        "after": fmean(after),
        "difference": asdict(difference),
    }
