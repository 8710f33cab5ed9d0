"""The page of a study: the table beside the paper's, over-refusal, abilities, curves, runs, failures."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from kalign import pages
from kalign.evaluation import report, tables
from kalign.evaluation.report import panels
from kalign.evaluation.study import findings
from kalign.evaluation.study.stages import Part
from kalign.pages import Cell, Section

TONES = {"better": "good", "kept": "good", "worse": "bad"}


def page(document: Mapping[str, Any], parts: Sequence[Part], out: Path) -> str:
    """The whole page; pages of single models are linked by their places below `out`."""
    sections = [_safe(document), _benign(document)]
    if document["abilities"]:
        sections.append(_abilities(document))
    sections += [_training(parts), _runs(document, out)]
    if document["failures"]:
        sections.append(_failures(document))
    sections.append(_how(document))
    first = findings.sentences(document)[0]
    return pages.page("Study ko: models beside the paper", sections, lead=first)


def _safe(document: Mapping[str, Any]) -> Section:
    rows: list[list[str | Cell | Markup]] = []
    for one in document["models"]:
        paper, claim = one["paper"], one["safe"]
        told = [f"{paper['before']:.2f}", f"{paper['after']:.2f}", f"{paper['gain']:+.2f}"] if paper else []
        rows.append([one["model"], *(told or ["–"] * 3), *_claimed(claim)])
    done = [one for one in document["models"] if one["safe"]]
    bars = {
        name: [(found["value"], found["low"], found["high"]) for found in (one["safe"][key] for one in done)]
        for name, key in (("base", "before"), ("after DPO", "after"))
    }
    paper_bars = [one["paper"]["after"] / 100 if one["paper"] else None for one in done]
    columns = ["model", "paper: base", "after", "gain", "here: base", "after", "gain", "p (Holm)", "verdict"]
    chart = pages.bars(
        [one["model"] for one in done],
        {**bars, "after DPO in the paper": paper_bars},
        top=1.0,
        caption="Safe rate with 95 % intervals; the paper gives none",
    )
    words = [pages.text(sentence, soft=True) for sentence in findings.sentences(document)[1:]]
    return Section(title="Safe rate", parts=[pages.table(columns, rows), chart, *words])


def _claimed(claim: Mapping[str, Any] | None) -> list[str | Cell]:
    if claim is None:
        return ["–", "–", "–", "–", Cell("failed", "bad")]
    return [
        tables.spelled(claim["before"]),
        tables.spelled(claim["after"]),
        tables.spelled(claim["difference"], sign="+"),
        f"{claim['p_value_holm']:.2g}",
        Cell(claim["verdict"], TONES.get(claim["verdict"], "")),
    ]


def _benign(document: Mapping[str, Any]) -> Section:
    rows: list[list[str | Cell]] = []
    for one in document["models"]:
        if one["safe"] is None or one["benign"] is None:
            continue
        benign, wrong = one["benign"], one["wrong_citations"]
        verdict = benign["retained"]["verdict"]
        rows.append(
            [
                one["model"],
                tables.spelled(benign["before"]),
                tables.spelled(benign["after"]),
                tables.spelled(benign["difference"], sign="+"),
                Cell(verdict, TONES.get(verdict, "")),
                f"{one['tokens']['base']:.0f} → {one['tokens']['model']:.0f}",
                f"{wrong['before']['value']:.1%} → {wrong['after']['value']:.1%}",
            ]
        )
    columns = [
        "model",
        "benign answered: base",
        "after",
        "difference",
        "verdict",
        "tokens in an answer",
        "answers that cite what does not exist",
    ]
    return Section(title="Over-refusal and citations", parts=[pages.table(columns, rows)])


def _abilities(document: Mapping[str, Any]) -> Section:
    rows: list[list[str | Cell]] = []
    for one in document["abilities"]:
        change = one.get("change") or {}
        verdict = change.get("verdict", "–")
        rows.append(
            [
                one["of"],
                one["task"],
                str(one["n"]),
                tables.spelled(one["base"]),
                tables.spelled(one["model"]),
                tables.spelled(change.get("difference"), sign="+"),
                Cell(verdict, TONES.get(verdict, "")),
            ]
        )
    columns = ["model", "task", "n", "base in %", "after in %", "difference", "verdict"]
    paper = ", ".join(f"{name} {gain:+.2f}" for name, gain in document["paper"]["abilities"].items())
    said = pages.text(f"Mean changes in the paper, over its six models: {paper}", soft=True)
    return Section(title="Ability", parts=[pages.table(columns, rows), said])


def _training(parts: Sequence[Part]) -> Section:
    drawn: list[Markup] = []
    for part in parts:
        if part.run.panel.is_file():
            drawn.append(pages.fold(part.model, panels.charts(part.run)))
    return Section(title="While they trained", parts=drawn or [pages.text("No panel was asked.", soft=True)])


def _runs(document: Mapping[str, Any], out: Path) -> Section:
    rows: list[list[str | Cell | Markup]] = []
    for one in document["models"]:
        training = one.get("training")
        facts = ["–"] * 3
        if training:
            facts = [str(training["steps"]), f"{training['pairs']:,}", f"{training['seconds'] / 3600:.2f}"]
        alarms = "; ".join(
            f"step {row['step']}: {row['sentence']}" for row in (training or {}).get("alarms", ())
        )
        place = Path(one["evaluation"]) / report.FILE
        link: str | Markup = "–"
        if place.is_file():
            link = Markup('<a href="{}">answers and curves</a>').format(os.path.relpath(place, out))
        device = f"{training['ranks']} × {training['device']}" if training else "–"
        rows.append([one["model"], one["repo"], one["licence"], *facts, device, alarms or "none", link])
    columns = ["model", "weights", "licence", "steps", "pairs", "hours", "on", "alarms", "page"]
    said = pages.text("The page of a model tells its claim by itself, with p before Holm.", soft=True)
    return Section(title="Runs", parts=[pages.table(columns, rows), said])


def _failures(document: Mapping[str, Any]) -> Section:
    rows = [
        [one["model"], one["stage"], str(one["code"]), one["said"], one["log"]]
        for one in document["failures"]
    ]
    return Section(title="Failed", parts=[pages.table(["model", "stage", "code", "said", "log"], rows)])


def _how(document: Mapping[str, Any]) -> Section:
    facts = {
        "suite": f"{document['suite']}, claim on {document['primary']}",
        "judges": ", ".join(document["judges"]),
        "laws and offices as of": document["as_of"],
        "answers": f"greedy, at most {document['max_new_tokens']} tokens",
        "versions": ", ".join(f"{name} {version}" for name, version in document["versions"].items()),
    }
    return Section(
        title="How it was measured",
        parts=[pages.table(["", ""], [[key, str(value)] for key, value in facts.items()])],
    )
