"""People look at a sample: rows out in Argilla's form, their answers in, how far they agree with judges."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kalign import files, statistics
from kalign.errors import DataError
from kalign.judging.quorum import Decision
from kalign.records import Judged
from kalign.synthesis import folder
from kalign.synthesis.texts import CITATIONS, CRITERIA, YES

ASKED = tuple(name for name in CRITERIA if name != CITATIONS)  # people need no table of statutes
SUBMITTED = "submitted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Of one criterion: people with the panel, and among themselves; None where it cannot be computed."""

    criterion: str
    items: int  # that both people and panel decided
    cohen: float | None
    agreeing: float | None  # share
    krippendorff: float | None  # among people


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What people decided."""

    people: int
    rows: int
    agreement: tuple[Agreement, ...]
    refused: tuple[str, ...]  # ids of which most people said no to a criterion

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def sample(judged: Iterable[Judged], count: int) -> list[dict[str, Any]]:
    """At most `count` rows, from every category in turn, kept and dropped ones.

    The panel's decisions are not among them, so that people decide for themselves.
    """
    by_category: dict[str, list[Judged]] = {}
    for one in judged:
        of = by_category.setdefault(one.response.attack.category, [])
        if len(of) < count:
            of.append(one)
    turns = max(map(len, by_category.values()), default=0)
    mixed = [of[turn] for turn in range(turns) for of in by_category.values() if turn < len(of)]
    return [_record(one) for one in mixed[:count]]


def write(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write the sample as JSON lines."""
    files.write_jsonl(path, records)


def _record(one: Judged) -> dict[str, Any]:
    attack = one.response.attack
    return {
        "id": one.id,
        "fields": {
            "category": attack.type,
            "prompt": attack.prompt,
            "rejected": attack.answer,
            "chosen": one.response.chosen,
        },
        "metadata": {"category": attack.category, "type": attack.type},
        "suggestions": [],
        "responses": [],
    }


def read(path: Path, judged: Iterable[Judged]) -> Review:
    """What people answered, and how far that agrees with the panel.

    Raises:
        DataError: a row is not of the sample's form, or is of no row that was judged.
    """
    panel = {one.id: one.decisions for one in judged}
    said: dict[str, dict[str, dict[str, str]]] = {}  # by row, person and criterion
    for number, row in files.read_jsonl(path):
        where = f"{path}:{number}"
        if not isinstance(row.get("id"), str) or row["id"] not in panel:
            raise DataError(
                f"{where}: id {row.get('id')!r:.60} was never judged here; keep the ids of the sample"
            )
        known = said.setdefault(row["id"], {})  # files of several people may stand one after another
        for person, answers in _answers(row, where):
            if person in known:
                raise DataError(
                    f"{where}: id {row['id']} has two answers of person {person}; give each response the "
                    "user_id of who gave it"
                )
            known[person] = answers
    people = sorted({person for answers in said.values() for person in answers})
    found = [_agreement(name, said, people, panel) for name in ASKED]
    refused = [
        identity
        for identity, answers in said.items()
        if any(_majority([one.get(name) for one in answers.values()]) == "no" for name in ASKED)
    ]
    return Review(
        people=len(people),
        rows=sum(bool(answers) for answers in said.values()),
        agreement=tuple(found),
        refused=tuple(sorted(refused)),
    )


def refused(path: Path) -> list[str]:
    """The ids that people refused; none, where nobody has been asked."""
    if not path.is_file():
        return []
    content = folder.read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("refused"), list):
        raise DataError(f"{path} is not what kalign wrote; take people's answers in again")
    return list(content["refused"])


def _answers(row: Mapping[str, Any], where: str) -> list[tuple[str, dict[str, str]]]:
    found = []
    responses = row.get("responses", [])
    if not isinstance(responses, list):
        raise DataError(f"{where}: responses should be a list")
    for number, response in enumerate(responses):
        if not isinstance(response, dict) or not isinstance(response.get("values"), dict):
            raise DataError(f"{where}: response {number} has no values")
        if response.get("status", SUBMITTED) != SUBMITTED:
            continue
        answers = {}
        for name, given in response["values"].items():
            value = given.get("value") if isinstance(given, dict) else given
            if name not in ASKED or value not in YES:
                raise DataError(
                    f"{where}: {name}={value!r:.40} is no answer; use yes or no for {', '.join(ASKED)}"
                )
            answers[name] = value
        found.append((str(response.get("user_id", number)), answers))
    return found


def _agreement(
    name: str,
    said: Mapping[str, Mapping[str, Mapping[str, str]]],
    people: Sequence[str],
    panel: Mapping[str, Mapping[str, str]],
) -> Agreement:
    both: list[tuple[str, str]] = []
    ratings = []
    for identity, answers in said.items():
        votes = [answers[person].get(name) if person in answers else None for person in people]
        ratings.append(votes)
        decided, judges = _majority(votes), panel[identity].get(name)
        if decided and judges in (Decision.YES, Decision.NO):
            both.append((decided, str(judges)))
    ones, others = [one for one, _ in both], [other for _, other in both]
    return Agreement(
        criterion=name,
        items=len(both),
        cohen=statistics.cohen(ones, others),
        agreeing=sum(one == other for one, other in both) / len(both) if both else None,
        krippendorff=statistics.krippendorff(ratings),
    )


def _majority(votes: Sequence[str | None]) -> str | None:
    """What more than half of those who answered say."""
    counts = Counter(vote for vote in votes if vote)
    for value, count in counts.items():
        if 2 * count > sum(counts.values()):
            return value
    return None
