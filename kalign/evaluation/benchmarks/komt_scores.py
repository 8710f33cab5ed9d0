"""What the grades of two turns add up to: means with intervals, by turn and category, and what changed."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from kalign import statistics
from kalign.errors import DataError
from kalign.evaluation.scoreboard import BY_ITSELF, POINTS, Row
from kalign.evaluation.summary import LEAST_COVERAGE
from kalign.statistics import Estimate

MARGIN = 0.1  # of the ten points; a loss of so much would matter


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """An answer with the grade of each judge, in one order; None where a judge gave none."""

    id: str
    category: str
    turn: str
    answer: str
    grades: tuple[int | None, ...]
    counted: tuple[float | None, ...]  # after the penalty
    penalised: bool

    @property
    def grade(self) -> float | None:
        """The mean of what the judges' grades count."""
        known = [one for one in self.counted if one is not None]
        return fmean(known) if known else None

    def row(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {**asdict(self), "grade": self.grade}


def rows(before: Sequence[Graded] | None, after: Sequence[Graded]) -> dict[str, Any]:
    """The rows over both turns and each, with macro over the categories; and those of each category."""
    pairs = [
        (old, new)
        for old, new in zip(before or after, after, strict=True)
        if old.grade is not None and new.grade is not None
    ]
    categories = sorted({new.category for _, new in pairs})
    paired = before is not None

    def row(task: str, fits: Callable[[Graded], bool]) -> Row | None:
        some = [pair for pair in pairs if fits(pair[1])]
        return _row(task, some, paired) if some else None

    made = [
        row("both turns", lambda one: True),
        row("first turn", lambda one: one.turn == "first"),
        row("second turn", lambda one: one.turn == "second"),
        _macro([[pair for pair in pairs if pair[1].category == one] for one in categories], paired)
        if len(categories) > 1
        else None,
    ]
    parts = [row(one, lambda graded, of=one: graded.category == of) for one in categories]  # type: ignore[misc]
    return {
        "tasks": [one for one in made if one],
        "parts": {"Ko-MT-Bench: categories": [one for one in parts if one]},
        "agreement": _agreement([*(before or []), *after]),
        "notes": _notes(before, after),
    }


def require_grades(name: str, graded: Sequence[Graded]) -> None:
    """Refuse to report on answers that were not graded.

    Raises:
        DataError: too many grades are missing.
    """
    given = [one is not None for row in graded for one in row.grades]
    if sum(given) / len(given) < LEAST_COVERAGE:
        raise DataError(
            f"only {sum(given) / len(given):.1%} of the grades of {name} were given, and "
            f"{LEAST_COVERAGE:.0%} must be; run the command again, or with another judge"
        )


def _row(task: str, pairs: Sequence[tuple[Graded, Graded]], paired: bool) -> Row:
    ids = [new.id for _, new in pairs]
    old, new = [_grade(one) for one, _ in pairs], [_grade(one) for _, one in pairs]
    change = statistics.paired_difference(old, new, clusters=ids) if paired else None
    return {
        "task": task,
        "n": len(pairs),
        "unit": POINTS,
        "base": asdict(statistics.mean_interval(old, clusters=ids)) if paired else None,
        "model": asdict(statistics.mean_interval(new, clusters=ids)),
        "change": _change(change),
    }


def _macro(groups: Sequence[Sequence[tuple[Graded, Graded]]], paired: bool) -> Row:
    """Every category weighs alike; the two turns of a question are one value, for they depend."""
    old, new, gained = ([_by_question(group, read) for group in groups] for read in READS)
    return {
        "task": "both turns, macro",
        "n": sum(map(len, groups)),
        "unit": POINTS,
        "base": asdict(statistics.macro(old)) if paired else None,
        "model": asdict(statistics.macro(new)),
        "change": _change(statistics.macro(gained) if paired else None),
    }


READS: Sequence[Callable[[Graded, Graded], float]] = (
    lambda old, new: _grade(old),
    lambda old, new: _grade(new),
    lambda old, new: _grade(new) - _grade(old),
)


def _by_question(
    pairs: Sequence[tuple[Graded, Graded]], read: Callable[[Graded, Graded], float]
) -> list[float]:
    by_id: dict[str, list[float]] = {}
    for old, new in pairs:
        by_id.setdefault(new.id, []).append(read(old, new))
    return [fmean(values) for values in by_id.values()]


def _change(difference: Estimate | None) -> dict[str, Any] | None:
    if difference is None:
        return None
    verdict = statistics.retained(difference, margin=MARGIN).verdict
    return {"difference": asdict(difference), "verdict": verdict}


def _agreement(graded: Sequence[Graded]) -> dict[str, Any] | None:
    if len(graded[0].grades) < 2:
        return None
    ratings = [one.grades for one in graded]
    return {
        "krippendorff_ordinal": statistics.krippendorff(ratings, level="ordinal"),
        "raw": statistics.raw(ratings),
    }


def _notes(before: Sequence[Graded] | None, after: Sequence[Graded]) -> list[str]:
    notes = [
        f"kept: a loss of {MARGIN:g} points or more is ruled out. Greedy answers, and judges asked in "
        "kalign's words: compare a model with its base, not with published grades",
        BY_ITSELF,
    ]
    for name, some in (("base", before), ("model", after)):
        if some:
            missing = sum(one is None for row in some for one in row.grades)
            notes.append(
                f"{name}: {sum(row.penalised for row in some)} of {len(some)} answers are not in Korean and "
                f"count as the square root of their grade; {missing} grades are missing"
            )
    if agreed := _agreement([*(before or []), *after]):
        alpha = agreed["krippendorff_ordinal"]
        told = "cannot be told" if alpha is None else f"{alpha:.2f}"
        notes.append(
            f"agreement of the judges: Krippendorff's alpha (ordinal) {told}, raw {agreed['raw']:.2f}"
        )
    return notes


def _grade(graded: Graded) -> float:
    """The grade of an answer that has one."""
    assert graded.grade is not None
    return graded.grade
