"""The page about a pipeline: what came through, how balanced it is, who agreed with whom, what it cost."""

from collections.abc import Mapping
from typing import Any

from kalign import pages
from kalign.files import atomic
from kalign.pages import Section
from kalign.records import Attack, Judged, Response, Seed
from kalign.synthesis.folder import Folder
from kalign.synthesis.report import account, answers, attacks, drops, judges, stages
from kalign.synthesis.report.stages import Made
from kalign.synthesis.triplets import Selection
from kalign.synthesis.work import Work

__all__ = ["Made", "funnel", "made", "write"]
NAME = "report.html"
KINDS: Mapping[str, type[Any]] = {"seeds": Seed, "attack": Attack, "respond": Response, "judge": Judged}


def made(folder: Folder) -> Made:
    """What each stage that has run made, by stage."""
    return {stage: folder.read(stage, kind) for stage, kind in KINDS.items() if folder.of(stage).is_file()}


def funnel(rows: Made, selection: Selection | None) -> list[dict[str, Any]]:
    """For each stage: its rows, how many it kept, and how many it dropped, by reason."""
    return stages.lines(rows, selection)


def write(work: Work, folder: Folder, rows: Made, selection: Selection | None) -> None:
    """Write report.html; without a selection, of what there is so far."""
    sections = [
        Section(title="What came through", parts=[*stages.parts(funnel(rows, selection))]),
        *([Section(title="Balance", parts=[*stages.balance(work, selection)])] if selection else []),
        Section(title="Attack success", parts=[*attacks.parts(work, rows.get("attack", []))]),
        Section(title="Answers under the policy", parts=[*answers.parts(work, rows.get("respond", []))]),
        Section(title="Judges", parts=[*judges.parts(work, folder, rows.get("judge", []))]),
        Section(title="What was dropped, and why", parts=[*drops.parts(rows, selection)]),
        Section(title="Models", parts=[*account.models(work)]),
        Section(title="Cost and time", parts=[*account.parts(folder)]),
    ]
    count = len(selection.rows) if selection else 0
    lead = (
        f"{count:,} of {work.pipeline.size:,} triplets. Pack {work.pack.name}, laws and institutions as of "
        f"{work.on}. This page holds harmful text behind its folds; keep it to yourself."
    )
    with atomic(folder.path / NAME) as partial:
        page = pages.page(f"{work.pipeline.name}: preference triplets", sections, lead=lead)
        partial.write_text(page, encoding="utf-8")
