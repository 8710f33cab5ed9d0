"""How far judges agree on each question, and how much of what they were asked they answered."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kalign import statistics
from kalign.judging.rubric import Rubric, Verdict
from kalign.records import Vote


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Of one question over many items; None where a measure cannot be computed, such as of one judge."""

    question: str
    items: int  # with two valid votes or more
    complete: int  # with a valid vote of every judge: what Fleiss' kappa is over
    raw: float | None
    fleiss: float | None
    krippendorff: float | None
    gwet: float | None  # AC1


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How many votes of one judge are of which kind."""

    judge: str
    asked: int
    kinds: Mapping[str, int]

    @property
    def share(self) -> float:
        """The share of what it was asked that it validly answered."""
        return self.kinds.get("valid", 0) / self.asked if self.asked else 0.0


def agreement(panels: Sequence[Sequence[Vote]], rubric: Rubric) -> list[Agreement]:
    """For each question of a rubric, over the votes on each item; every panel has its judges in one order."""
    found = []
    for question in rubric.questions:
        ratings = [_ratings(votes, question.id) for votes in panels]
        complete = [row for row in ratings if len(row) > 1 and None not in row]
        ordered = all(isinstance(verdict, int) for verdict in question.verdicts)
        found.append(
            Agreement(
                question=question.id,
                items=sum(sum(verdict is not None for verdict in row) > 1 for row in ratings),
                complete=len(complete),
                raw=statistics.raw(ratings),
                fleiss=statistics.fleiss(complete),
                krippendorff=statistics.krippendorff(ratings, level="ordinal" if ordered else "nominal"),
                gwet=statistics.gwet(ratings, categories=len(question.verdicts)),
            )
        )
    return found


def coverage(panels: Sequence[Sequence[Vote]]) -> list[Coverage]:
    """For each judge, in the order of its first vote."""
    kinds: dict[str, Counter[str]] = {}
    for votes in panels:
        for vote in votes:
            kinds.setdefault(vote.judge, Counter())[vote.kind.value] += 1
    return [Coverage(judge=judge, asked=sum(of.values()), kinds=dict(of)) for judge, of in kinds.items()]


def _ratings(votes: Sequence[Vote], question: str) -> list[Verdict | None]:
    return [vote.verdicts.get(question) for vote in votes]
