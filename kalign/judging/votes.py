"""From a judge's answer to a vote of a named kind; what is no valid vote is never a verdict."""

from collections.abc import Mapping
from typing import Any

from kalign.judging.rubric import Rubric
from kalign.providers import Answer, Provider, Status
from kalign.records import Vote, VoteKind

KINDS = {
    Status.BLOCKED: VoteKind.BLOCKED,
    Status.REFUSED: VoteKind.REFUSED,
    Status.TRUNCATED: VoteKind.TRUNCATED,
    Status.EMPTY: VoteKind.UNREADABLE,
    Status.UNREADABLE: VoteKind.UNREADABLE,
}


def identity(judge: Provider) -> str:
    """The name of a judge in a vote: one provider may serve several models."""
    return f"{judge.name}:{judge.model}"


def read(rubric: Rubric, data: Mapping[str, Any], answer: Answer | None, judge: Provider) -> Vote:
    """The vote that an answer is; None, when the judge never answered, is a missing one.

    Args:
        data: what was judged, from which the nonce follows.
    """
    name = identity(judge)
    if answer is None:
        return Vote(judge=name, kind=VoteKind.MISSING, reason="the judge did not answer")
    if not answer.ok:
        kind = KINDS.get(answer.status, VoteKind.MISSING)
        return Vote(judge=name, kind=kind, reason=answer.reason or answer.status.value, key=answer.key)
    said = answer.parsed if isinstance(answer.parsed, dict) else {}
    if said.get("nonce") != rubric.nonce(data):
        reason = "the nonce is not the one that was given"
        return Vote(judge=name, kind=VoteKind.UNREADABLE, reason=reason, key=answer.key)
    verdicts = said.get("verdicts") or {}
    for question in rubric.questions:
        verdict = verdicts.get(question.id)
        if type(verdict) is bool or verdict not in question.verdicts:  # True would pass for 1
            reason = f"{question.id} is none of its verdicts"
            return Vote(judge=name, kind=VoteKind.UNREADABLE, reason=reason, key=answer.key)
    asked = {question.id: verdicts[question.id] for question in rubric.questions}
    return Vote(judge=name, kind=VoteKind.VALID, verdicts=asked, key=answer.key)
