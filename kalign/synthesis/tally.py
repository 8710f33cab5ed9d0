"""What the stages' files hold, counted row by row: reasons, examples, outcomes of attacks, votes."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kalign.records import Attack, Judged, Response, Seed, Vote
from kalign.synthesis.attack import RESISTED, SUCCESS
from kalign.synthesis.folder import Folder

EXAMPLES = 3  # of each reason
FAILED = "failed"  # a try that says nothing about the target
KINDS: Mapping[str, type[Any]] = {"seeds": Seed, "attack": Attack, "respond": Response, "judge": Judged}


@dataclass(kw_only=True)
class Rows:
    """One stage's rows, counted; of each reason a few examples are held."""

    count: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, row: Any) -> None:
        """Count one more."""
        self.count += 1
        if row.dropped:
            self.dropped[row.dropped] += 1
            of = self.examples.setdefault(row.dropped, [])
            if len(of) < EXAMPLES:
                of.append(row)


@dataclass(kw_only=True)
class Tally:
    """All stages that have run; what is held does not grow with the number of rows, but for one reference
    a judged row."""

    stages: dict[str, Rows] = field(default_factory=dict)
    by_strategy: dict[str, Counter[str]] = field(default_factory=dict)  # outcomes of tries
    by_target: dict[str, Counter[str]] = field(default_factory=dict)
    by_category: dict[str, Counter[str]] = field(default_factory=dict)  # outcomes of seeds
    answers_by_category: dict[str, Counter[str]] = field(default_factory=dict)  # why not; "" if good enough
    answers_by_model: dict[str, Counter[str]] = field(default_factory=dict)
    decisions: dict[str, Counter[str]] = field(default_factory=dict)  # of the panel, by criterion
    panels: list[tuple[Vote, ...]] = field(default_factory=list)  # without keys; equal ones are one object
    _known: dict[Any, tuple[Vote, ...]] = field(default_factory=dict)

    def attacked(self, row: Attack) -> None:
        """Count what came of one seed."""
        outcome = SUCCESS if not row.dropped else RESISTED if row.dropped == RESISTED else FAILED
        self.by_category.setdefault(row.category, Counter())[outcome] += 1
        self.by_target.setdefault(row.target, Counter())
        for one in row.tries:
            self.by_strategy.setdefault(one.strategy, Counter())[one.outcome] += 1
            self.by_target[row.target][one.outcome] += 1

    def answered(self, row: Response) -> None:
        """Count what became of each candidate for one answer."""
        for one in row.candidates:
            model = one.origin.model if one.origin else "not known"
            self.answers_by_category.setdefault(row.attack.category, Counter())[one.dropped] += 1
            self.answers_by_model.setdefault(model, Counter())[one.dropped] += 1

    def judged(self, row: Judged) -> None:
        """Count the votes on one row."""
        for name, decision in row.decisions.items():
            self.decisions.setdefault(name, Counter())[decision] += 1
        same = tuple((vote.judge, vote.kind, *sorted(vote.verdicts.items())) for vote in row.votes)
        if same not in self._known:
            bare = (Vote(judge=one.judge, kind=one.kind, verdicts=one.verdicts) for one in row.votes)
            self._known[same] = tuple(bare)
        self.panels.append(self._known[same])


def of(folder: Folder) -> Tally:
    """What the folder's stages made so far."""
    found = Tally()
    for stage, kind in KINDS.items():
        if not folder.of(stage).is_file():
            continue
        rows = found.stages[stage] = Rows()
        for row in folder.read(stage, kind):
            rows.add(row)
            if isinstance(row, Attack):
                found.attacked(row)
            elif isinstance(row, Response):
                found.answered(row)
            elif isinstance(row, Judged):
                found.judged(row)
    return found
