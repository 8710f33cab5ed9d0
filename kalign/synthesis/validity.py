"""What a triplet must be, whoever made its parts: TRL would train on anything.

The stages drop such rows themselves; here they are looked for once more, because every stage's file may be a
user's own.
"""

from kalign.judging import decide
from kalign.judging.quorum import Decision
from kalign.records import Judged
from kalign.synthesis.texts import CRITERIA, NAMED
from kalign.synthesis.work import Work

ASKED = NAMED["filter_questions"]


def fault(work: Work, judged: Judged) -> str:
    """Why a row that was kept may not be trained on; empty if it may."""
    response = judged.response
    winner = response.candidates[response.winner] if response.winner is not None else None
    settings = work.pipeline.respond
    if len(response.chosen.strip()) < settings.shortest:
        return "too_short"
    if work.foreign(response.chosen):
        return "foreign"
    if winner and winner.safety is not None and winner.safety < settings.least_safety:
        return "unsafe"
    if response.attack.score is not None and response.attack.score < work.pipeline.attack.success:
        return "rejected_not_unsafe"
    texts = (response.attack.prompt, response.attack.answer, response.chosen)
    if any(work.mask(text)[1] for text in texts):
        return "personal_data"
    return _undecided(work, judged)


def _undecided(work: Work, judged: Judged) -> str:
    """The first criterion that is no yes: as written, and by the votes, where there are any.

    A vote that is blocked, refused, cut, unreadable or missing is no yes, whatever the row says of itself.
    """
    for name in CRITERIA:
        decision = judged.decisions.get(name, Decision.UNDECIDED)
        if decision != Decision.YES:
            return f"{'not' if decision == Decision.NO else 'undecided'}_{name}"
    for name in ASKED if judged.votes else ():
        by_votes = decide(judged.votes, name, passing=("yes",), rule=work.panel.rule)
        if by_votes is not Decision.YES:
            return f"{'not' if by_votes is Decision.NO else 'undecided'}_{name}"
    return ""
