"""Ko-MT-Bench: two turns, each graded from 1 to 10 by judges; an answer in another language counts as the
square root of its grade.

The questions are the user's file; what a judge is asked is in our words (komt.yaml), and answers are greedy:
grades compare a model with its base, and not with published ones.

Source:
    LG AI Research 2024, https://github.com/LG-AI-EXAONE/KoMT-Bench: form of the questions, penalty, and the
    two questions without it; after Zheng et al. 2023, MT-Bench, https://arxiv.org/abs/2306.05685.
"""

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console

from kalign import files, yaml_files
from kalign.config import Source
from kalign.data import sources
from kalign.errors import ConfigError, DataError
from kalign.evaluation import declared, panels
from kalign.evaluation.benchmarks import asked, komt_scores
from kalign.evaluation.benchmarks.asked import Place, Wanted
from kalign.evaluation.benchmarks.komt_scores import Graded
from kalign.evaluation.judges import RULES
from kalign.evaluation.questions import Question
from kalign.judging import Question as Asked
from kalign.judging import Rubric, read, votes
from kalign.providers import Engine, Provider, local
from kalign.records import Message

LICENCE = "LGPL-3.0 of LG's questions; else that of the file's owner"
COLUMNS = {"id": "question_id", "category": "category", "turns": "turns", "reference": "reference"}
GRADES = tuple(range(1, 11))
WORDS = Path(__file__).with_suffix(".yaml")
CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
TURNS = ("first", "second")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A question of two turns, with what a good answer would say, if the file has that."""

    id: str
    category: str
    turns: tuple[str, str]
    reference: tuple[str, str]

    def question(self, turn: int, answer: str | None = None) -> Question:
        """What is asked in a turn, after the answer to the first one."""
        earlier = (
            (Message(role="user", content=self.turns[0]), Message(role="assistant", content=answer))
            if answer is not None
            else ()
        )
        return Question(
            id=f"{self.id}-{TURNS[turn]}",
            set="komt",
            kind="benign",
            category=self.category,
            family=self.id,
            text=self.turns[turn],
            before=earlier,
        )

    def judged(self, turn: int, answers: tuple[str, str]) -> dict[str, str]:
        """What a judge is shown of a turn."""
        shown = {"question": self.turns[turn], "answer": answers[turn]}
        if turn:
            shown |= {"first_question": self.turns[0], "first_answer": answers[0]}
        return shown | ({"reference": self.reference[turn]} if self.reference[turn] else {})


def evaluate(wanted: Wanted, console: Console, *, given: Mapping[str, str | None]) -> Path:
    """Ask both turns, have them graded, and return the folder.

    Args:
        given: `columns`, `judge` (a panel of models) and `exempt` (ids without the penalty).

    Raises:
        KalignError: of the category that says who can mend it.
    """
    items = read_questions(wanted.data, declared.columns(given["columns"], COLUMNS))
    judges = _judges(given["judge"])
    exempt = frozenset(filter(None, map(str.strip, str(given["exempt"] or "").split(","))))
    first = [one.question(0) for one in items]
    about = {"judges": panels.names(judges), "exempt": sorted(exempt)}
    with asked.place(wanted, first, console, licence=LICENCE, engine=True, decided=about) as place:
        said = {name: _answers(place, name, asker, items, first) for name, asker in place.each(first)}
        assert place.engine is not None
        with local.started(judges) as ready:
            graded = {
                name: _graded(items, answers, ready, place.engine, exempt) for name, answers in said.items()
            }
        rows = {name: [one.row() for one in some] for name, some in graded.items()}
        document = {
            "licence": LICENCE,
            "num_fewshot": 0,
            "template": "the model's own, two turns",
            **about,
            **komt_scores.rows(graded.get("base"), graded["model"]),
        }
        place.finish(document, rows, console)
        for name, some in graded.items():
            komt_scores.require_grades(name, some)
    return place.folder


def read_questions(path: Path, named: Mapping[str, str]) -> list[Item]:
    """The questions of a file.

    Raises:
        DataError: a row has not two turns, or two rows have one id.
    """
    items: list[Item] = []
    for row in sources.read(Source(path=str(path))).rows:
        where = f"{path}: row {row.number}"
        told = {field: row.content.get(column) for field, column in named.items()}
        turns, reference = _pair(told["turns"]), _pair(told["reference"] or ["", ""])
        if told["id"] is None or turns is None or not all(turns):
            raise DataError(
                f"{where} is none of Ko-MT-Bench's ({named['id']}, and {named['turns']}: a list of two "
                "prompts); declare the columns as the file has them, columns=FIELD:COLUMN,..."
            )
        if reference is None:
            raise DataError(f"{where}: its {named['reference']} is no list of two texts")
        items.append(
            Item(
                id=str(told["id"]),
                category=str(told["category"] or "-"),
                turns=turns,
                reference=reference,
            )
        )
    if len({one.id for one in items}) < len(items):
        raise DataError(f"{path} has a question twice; give every one an id of its own")
    return items


def in_language(answer: str) -> bool:
    """Whether an answer is in the language that is asked for; one without letters is in none other."""
    letters = [letter for letter in CODE.sub("", files.nfc(answer)) if letter.isalpha()]
    own = sum(unicodedata.name(letter, "").startswith(_words()["script"]) for letter in letters)
    return not letters or own / len(letters) >= _words()["least"]


def _pair(value: Any) -> tuple[str, str] | None:
    """Two texts, if they are."""
    if isinstance(value, list) and len(value) == 2 and all(isinstance(one, str) for one in value):
        return (value[0], value[1])
    return None


def _judges(given: str | None) -> list[Provider]:
    names = [name for name in (given or "").split(",") if name]
    if not names or RULES in names:
        raise ConfigError(
            "suite=komt is graded by models: give judge=PANEL, of conf/judge/ or conf/provider/ (the rules "
            "see refusals, not quality)"
        )
    return panels.providers(names)


def _answers(
    place: Place, name: str, asker: Any, items: Sequence[Item], first: Sequence[Question]
) -> list[tuple[str, str]]:
    """The answers to both turns, the second in the light of the first."""
    opened = [one.text for one in place.collect(name, first, asker, part="-first")]
    after = files.sha256(place.folder / "responses" / f"{name}-first.jsonl")
    second = [one.question(1, answer) for one, answer in zip(items, opened, strict=True)]
    closed = [one.text for one in place.collect(name, second, asker, part="-second", after=after)]
    return list(zip(opened, closed, strict=True))


def _graded(
    items: Sequence[Item],
    answers: Sequence[tuple[str, str]],
    judges: Sequence[Provider],
    engine: Engine,
    exempt: frozenset[str],
) -> list[Graded]:
    """Both turns of every question, with a grade of each judge that gave one."""
    found = []
    for turn, name in enumerate(TURNS):
        rubric = Rubric(
            name=f"komt-{name}",
            language=_words()["language"],
            task=_words()[name],
            questions=(Asked(id="grade", text=_words()["grade"], verdicts=GRADES),),
        )
        shown = [one.judged(turn, said) for one, said in zip(items, answers, strict=True)]
        by_judge = [_grades(rubric, shown, judge, engine) for judge in judges]
        for place, (one, said) in enumerate(zip(items, answers, strict=True)):
            spared = one.id in exempt or in_language(said[turn])
            grades = [given[place] for given in by_judge]
            found.append(
                Graded(
                    id=one.id,
                    category=one.category,
                    turn=name,
                    answer=said[turn],
                    grades=tuple(grades),
                    counted=tuple(
                        None if grade is None else float(grade) if spared else math.sqrt(grade)
                        for grade in grades
                    ),
                    penalised=not spared,
                )
            )
    return found


def _grades(
    rubric: Rubric, shown: Sequence[Mapping[str, str]], judge: Provider, engine: Engine
) -> list[int | None]:
    requests = [rubric.request(judge, data, sampling=panels.SAMPLING) for data in shown]
    said = engine.answers(requests, total=len(requests), label=votes.identity(judge))
    read_votes = [read(rubric, data, answer, judge) for data, answer in zip(shown, said, strict=True)]
    return [int(vote.verdicts["grade"]) if vote.valid else None for vote in read_votes]


@cache
def _words() -> dict[str, Any]:
    return dict(yaml_files.read(WORDS))
