"""Calibration: before the panel judges, each of its judges meets texts that try to talk it round."""

from dataclasses import replace
from typing import Any

from kalign.judging import canaries
from kalign.providers import Provider
from kalign.synthesis import folder
from kalign.synthesis.work import Work

NOTED = "canaries"  # in state.json
ROLE = "canary"


def run(work: Work, place: folder.Folder) -> None:
    """Ask every judge of the panel about the canaries, and note what came of it in the folder.

    Raises:
        DataError: a judge is talked round too often.
    """
    if not work.panel.canaries:
        return
    scores = [_score(work, judge) for judge in work.cast.panel]
    place.note(NOTED, {"scores": [one.as_dict() for one in scores]})
    canaries.require_firm(scores, most_fooled=work.panel.most_fooled)


def _score(work: Work, judge: Provider) -> canaries.Score:
    known = canaries.load()
    requests = [*canaries.asked(known, judge, sampling=work.panel.sampling)]
    # A vendor's batch may take a day, and sixty questions are few: they are asked one by one where that goes
    asking = work if judge.base_url is None else replace(work, deferred=None)
    return canaries.score(known, judge, asking.ask(ROLE, requests))


def noted(place: folder.Folder) -> list[canaries.Score]:
    """What came of it the last time; nothing, where no judge was asked."""
    found: list[dict[str, Any]] = place.noted().get(NOTED, {}).get("scores", [])
    return [
        canaries.Score(judge=one["judge"], outcomes=one["outcomes"], fooled=tuple(one["fooled"]))
        for one in found
    ]
