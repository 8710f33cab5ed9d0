"""The pair ledger: one line for every row of every source, and the table that adds them up."""

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from kalign import files
from kalign.records import Triplet, text

LETTER = re.compile(r"[^\W\d_]")
ALIKE = 0.95  # answers at least this similar are suspected to differ in nothing that matters
# Dropped as declared, so not counted against max_drop_share
EXEMPT = ("exact_duplicate", "one label only", "weight", "selection")


@dataclass(kw_only=True)
class Line:
    """What became of one row. Lengths are in tokens; None where the row got no that far."""

    source: str
    row: int
    id: str
    action: str = "drop"  # train, eval or drop
    reason: str = ""  # why it was dropped, or truncated; empty for a pair that is whole
    family: str = ""
    copies: int = 0  # how often it is seen in an epoch
    prompt_tokens: int | None = None
    chosen_tokens: int | None = None
    rejected_tokens: int | None = None
    chosen_truncated: bool = False
    rejected_truncated: bool = False
    control_tokens: int = 0  # how often the texts spell a control token, which stays text
    language_share: float | None = None  # of the letters of both answers, those of the pack's language
    similarity: float | None = None  # of the two answers, 0 to 1; None where there is one
    suspect: str = ""  # near_duplicate, swapped: kept, but worth a look
    detail: str = ""


COLUMNS = {
    "source": "string",
    "row": "int64",
    "id": "string",
    "action": "string",
    "reason": "string",
    "family": "string",
    "copies": "int64",
    "prompt_tokens": "int64",
    "chosen_tokens": "int64",
    "rejected_tokens": "int64",
    "chosen_truncated": "bool",
    "rejected_truncated": "bool",
    "control_tokens": "int64",
    "language_share": "float64",
    "similarity": "float64",
    "suspect": "string",
    "detail": "string",
}


def describe(line: Line, triplet: Triplet, letters: re.Pattern[str]) -> None:
    """Note what the answers look like; `letters` matches one letter of the language they should be in."""
    chosen, rejected = text(triplet.chosen), text(triplet.rejected)
    written = LETTER.findall(chosen + rejected)
    line.language_share = (
        round(sum(1 for letter in written if letters.match(letter)) / len(written), 4) if written else None
    )
    if not rejected:
        return
    line.similarity = round(similarity(chosen, rejected), 4)
    if line.similarity >= ALIKE:
        line.suspect = "near_duplicate"


def similarity(one: str, other: str) -> float:
    """How alike two texts are, from 0 to 1; below 0.95 an upper bound is enough and returned, since it is
    much cheaper."""
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    for bound in (matcher.real_quick_ratio, matcher.quick_ratio):
        if (quick := bound()) < ALIKE:
            return quick
    return matcher.ratio()


def write(path: Path, lines: Sequence[Line]) -> None:
    """Write the ledger as parquet, one row a line."""
    files.write_parquet(path, (dataclasses.asdict(line) for line in lines), COLUMNS)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The account: rows = train + eval + dropped, and dropped by reason."""

    rows: int
    train: int
    eval: int
    dropped: dict[str, int]
    truncated: int
    suspects: dict[str, int]
    chosen_longer_share: float | None
    mean_length_gap: float | None
    facts: dict[str, int]

    @property
    def drop_share(self) -> float:
        """Dropped rows against the declaration, as a share of those that were candidates."""
        lost = sum(count for reason, count in self.dropped.items() if reason not in EXEMPT)
        candidates = self.train + self.eval + lost
        return lost / candidates if candidates else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self) | {"drop_share": self.drop_share}


def summary(lines: Sequence[Line], facts: dict[str, int]) -> Summary:
    """Add the lines up."""
    kept = [line for line in lines if line.action != "drop"]
    gaps = [
        line.chosen_tokens - line.rejected_tokens
        for line in kept
        if line.chosen_tokens is not None and line.rejected_tokens is not None
    ]
    actions = Counter(line.action for line in lines)
    return Summary(
        rows=len(lines),
        train=actions["train"],
        eval=actions["eval"],
        dropped=dict(sorted(Counter(line.reason for line in lines if line.action == "drop").items())),
        truncated=sum(line.chosen_truncated or line.rejected_truncated for line in kept),
        suspects=dict(sorted(Counter(line.suspect for line in kept if line.suspect).items())),
        chosen_longer_share=round(sum(gap > 0 for gap in gaps) / len(gaps), 4) if gaps else None,
        mean_length_gap=round(sum(gaps) / len(gaps), 2) if gaps else None,
        facts=facts,
    )
