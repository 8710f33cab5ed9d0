"""What a triplet must be, whoever made its parts: TRL would train on anything.

The stages drop such rows themselves; here they are looked for once more, because every stage's file may be a
user's own.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TypeVar

from kalign.config import licences
from kalign.errors import DataError
from kalign.judging import decide
from kalign.judging.quorum import Decision
from kalign.records import Attack, Judged, Response, Seed
from kalign.synthesis.texts import CRITERIA, NAMED
from kalign.synthesis.work import Work

ASKED = NAMED["filter_questions"]
Record = TypeVar("Record", Seed, Attack, Response, Judged)


def placed(work: Work, records: Iterable[Record]) -> Iterator[Record]:
    """Yield the records, and refuse one of a category or type that the pack does not have, before it is paid
    for.

    Raises:
        DataError: there is such a record.
    """
    for one in records:
        require_placed(work, one)
        yield one


def require_placed(work: Work, record: Record) -> None:
    """Refuse a record of a category or type that the pack does not have, or of a type of another category.

    Raises:
        DataError: it is one.
    """
    place = record.response if isinstance(record, Judged) else record
    row = place.attack if isinstance(place, Response) else place
    known = {one.id: one.parent for one in work.pack.taxonomy.types}
    if row.type not in known or known[row.type] != row.category:
        raise DataError(
            f"id {record.id} is of category {row.category} and type {row.type}, which the pack "
            f"{work.pack.name} does not have; use one of its types, such as {next(iter(known))}, with its "
            "category"
        )


def fault(work: Work, judged: Judged) -> str:
    """Why a row that was kept may not be trained on; empty if it may.

    Raises:
        DataError: it is of a type that the pack does not have.
    """
    require_placed(work, judged)
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
    if _forbidden(judged, tuple(work.pipeline.accept_licence_of)):
        return "licence"
    texts = (response.attack.prompt, response.attack.answer, response.chosen)
    if any(work.mask(text)[1] for text in texts):
        return "personal_data"
    return _undecided(work, judged)


def _forbidden(judged: Judged, accepted: tuple[str, ...]) -> bool:
    """Whether a text is of a model whose words may train no others, as a file from elsewhere may hold."""
    response, attack = judged.response, judged.response.attack
    winner = response.candidates[response.winner] if response.winner is not None else None
    origins = (attack.seed_origin, attack.prompt_origin, attack.answer_origin, winner and winner.origin)
    models = {attack.target, *(one.model.partition(":")[2] for one in origins if one)}
    return any(_forbids(model, accepted) for model in models)


@lru_cache(maxsize=256)
def _forbids(model: str, accepted: tuple[str, ...]) -> bool:
    known = licences.of(model)
    if known is None or known.licence.may_train_others:
        return False
    return not {model, known.name, known.repo} & set(accepted)


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
