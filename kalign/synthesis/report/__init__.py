"""The page about a pipeline: what came through, how balanced it is, who agreed with whom, what it cost."""

from typing import Any

from kalign import pages
from kalign.files import atomic
from kalign.pages import Section
from kalign.synthesis.folder import Folder
from kalign.synthesis.report import account, answers, attacks, drops, judges, stages
from kalign.synthesis.tally import Tally
from kalign.synthesis.triplets import Selection
from kalign.synthesis.work import Work

NAME = "report.html"


def funnel(tally: Tally, selection: Selection | None) -> list[dict[str, Any]]:
    """For each stage: its rows, how many it kept, and how many it dropped, by reason."""
    return stages.lines(tally, selection)


def write(work: Work, folder: Folder, tally: Tally, selection: Selection | None) -> None:
    """Write report.html; without a selection, of what there is so far."""
    sections = [
        Section(title="What came through", parts=[*stages.parts(funnel(tally, selection))]),
        *([] if selection is None else [Section(title="Balance", parts=[*stages.balance(work, selection)])]),
        Section(title="Attack success", parts=[*attacks.parts(work, tally)]),
        Section(title="Answers under the policy", parts=[*answers.parts(work, tally)]),
        Section(title="Judges", parts=[*judges.parts(work, folder, tally)]),
        Section(title="What was dropped, and why", parts=[*drops.parts(tally, selection)]),
        Section(title="Models", parts=[*account.models(work)]),
        Section(title="Cost and time", parts=[*account.parts(folder)]),
    ]
    count = len(selection) if selection is not None else 0
    lead = (
        f"{count:,} of {work.pipeline.size:,} triplets. Pack {work.pack.name}, laws and institutions as of "
        f"{work.on}. This page holds harmful text behind its folds; keep it to yourself."
    )
    with atomic(folder.path / NAME) as partial:
        page = pages.page(f"{work.pipeline.name}: preference triplets", sections, lead=lead)
        partial.write_text(page, encoding="utf-8")
