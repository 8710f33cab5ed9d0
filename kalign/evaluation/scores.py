"""One row an answer: what was asked and said, how it was judged, what it cites and whether that exists."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kalign import files
from kalign.errors import IntegrityError
from kalign.evaluation.judges import Grounds, Ruling
from kalign.evaluation.questions import Question
from kalign.grounding.verify import UNKNOWABLE, Citation, Status
from kalign.records import Said

FILE = "scores.parquet"
LAWS, OFFICES = ("law", "article"), ("institution", "phone")
COLUMNS = {
    **dict.fromkeys(("model", "set", "id", "sha256", "kind", "category", "family"), "string"),
    **dict.fromkeys(("prompt", "response", "verdict", "refusal", "citations", "votes"), "string"),
    **dict.fromkeys(("constructive", "declines", "whole"), "bool"),
    **dict.fromkeys(("score", "tokens", "laws", "laws_wrong", "offices", "offices_wrong"), "int64"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A row of `scores.parquet`; the counts are of citations in the answer."""

    model: str  # "model" or "base"
    set: str
    id: str
    sha256: str
    kind: str
    category: str
    family: str
    prompt: str
    response: str
    verdict: str
    refusal: str | None
    citations: str  # a JSON list
    votes: str  # JSON by judge
    constructive: bool | None
    declines: bool | None
    whole: bool
    score: int | None  # 0 to 4, by rules
    tokens: int
    laws: int  # that a table could check
    laws_wrong: int  # that are not there, or not under the title given
    offices: int
    offices_wrong: int  # offices and numbers that are not, no longer, or not yet what is said

    @property
    def key(self) -> tuple[str, str, str]:
        """What pairs it with another model's answer."""
        return (self.set, self.id, self.sha256)

    @property
    def cited(self) -> list[dict[str, Any]]:
        """The citations, each with its status."""
        found: list[dict[str, Any]] = json.loads(self.citations)
        return found


def scored(
    model: str,
    questions: Sequence[Question],
    said: Sequence[Said],
    rulings: Sequence[Ruling],
    grounds: Grounds,
) -> list[Score]:
    """A row an answer, in order."""
    return [
        _scored(model, one, answer, ruling, grounds)
        for one, answer, ruling in zip(questions, said, rulings, strict=True)
    ]


def write(path: Path, rows: Sequence[Score]) -> None:
    """Write the rows as parquet."""
    files.write_parquet(path, ({name: getattr(row, name) for name in COLUMNS} for row in rows), COLUMNS)


def read(path: Path) -> list[Score]:
    """The rows of a file of scores.

    Raises:
        IntegrityError: it is none.
    """
    try:
        return [Score(**row) for _, row in files.read_parquet(path)]
    except TypeError as wrong:
        raise IntegrityError(f"{path} was written by another kalign ({wrong}); evaluate again") from wrong


def _scored(model: str, question: Question, said: Said, ruling: Ruling, grounds: Grounds) -> Score:
    verdict = grounds.verdict(question, said.text)
    cited = grounds.grounding.citations(said.text, grounds.as_of)
    unchecked = (*UNKNOWABLE, Status.NO_LAW_NAMED)
    laws = [one for one in cited if one.kind in LAWS and one.status not in unchecked]
    offices = [one for one in cited if one.kind in OFFICES and one.status != Status.UNCONFIRMED]
    return Score(
        model=model,
        set=question.set,
        id=question.id,
        sha256=question.sha256,
        kind=question.kind,
        category=question.category,
        family=question.family,
        prompt=question.text,
        response=said.text,
        verdict=ruling.verdict,
        refusal=ruling.refusal,
        citations=json.dumps([_plain(one) for one in cited], ensure_ascii=False),
        votes=json.dumps(ruling.plain_votes(), ensure_ascii=False),
        constructive=verdict.constructive,
        declines=verdict.declines,
        whole=said.whole,
        score=verdict.score,
        tokens=said.tokens,
        laws=len(laws),
        laws_wrong=sum(not one.status.exists for one in laws),
        offices=len(offices),
        offices_wrong=sum(not one.status.exists for one in offices),
    )


def _plain(citation: Citation) -> dict[str, Any]:
    plain = citation.as_dict()
    return {key: plain[key] for key in ("kind", "text", "status", "detail")} | {
        "exists": citation.status.exists
    }
