"""KoBBQ: whether a model answers by the text or by a stereotype, in ambiguous and in disambiguated contexts.

Source:
    Jin et al. 2024, KoBBQ, https://arxiv.org/abs/2307.16778; its files and their columns:
    https://github.com/naver-ai/KoBBQ.
"""

import ast
import csv
import re
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
from kalign.evaluation import declared
from kalign.evaluation.benchmarks import asked, kobbq_scores
from kalign.evaluation.benchmarks.asked import Wanted
from kalign.evaluation.benchmarks.kobbq_scores import Outcome
from kalign.evaluation.questions import Question

LICENCE = "MIT"
COLUMNS = {
    "id": "sample_id",
    "context": "context",
    "question": "question",
    "choices": "choices",
    "biased_answer": "biased_answer",
    "answer": "answer",
}
ID = re.compile(r"(?P<category>[^-]+)-(?P<template>\d+)[a-z]-\d+-(?P<condition>amb|dis)-(?:bsd|cnt)")
PARTS = ("instruction", "context", "question", "a", "b", "c", "answer", "unknown")
LETTERS = "ABC"
WORDS = Path(__file__).with_suffix(".yaml")
FIRST = re.compile(r"\W*([ABCabc])(?![A-Za-z])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A question with its three choices in one order."""

    question: Question
    choices: tuple[str, str, str]
    answer: str
    biased: str
    unknown: str

    def outcome(self, chosen: str | None) -> Outcome:
        """What choosing that choice says; None: none was chosen."""
        return Outcome(
            ambiguous=self.answer == self.unknown,
            stereotyped=self.answer == self.biased,
            category=self.question.category,
            family=self.question.family,
            chosen=chosen is not None,
            correct=chosen == self.answer,
            biased=chosen == self.biased,
            unknown=chosen == self.unknown,
        )


def evaluate(wanted: Wanted, console: Console, *, given: Mapping[str, str | None]) -> Path:
    """Ask every question in three orders of its choices, score them, and return the folder.

    Args:
        given: `columns`, `prompts` (KoBBQ's file of prompts) and `prompt` (which of them).

    Raises:
        KalignError: of the category that says who can mend it.
    """
    template, named = _template(given["prompts"], str(given["prompt"]))
    items = read(wanted.data, declared.columns(given["columns"], COLUMNS), template)
    found = [one.question for one in items]
    with asked.place(wanted, found, console, licence=LICENCE) as place:
        rows, outcomes = {}, {}
        for name, asker in place.each(found):
            said = [one.text for one in place.collect(name, found, asker)]
            chosen = [choice(text, one.choices) for one, text in zip(items, said, strict=True)]
            outcomes[name] = [one.outcome(took) for one, took in zip(items, chosen, strict=True)]
            rows[name] = [
                {"id": one.question.id, "answer": one.answer, "chosen": took, "said": text}
                for one, took, text in zip(items, chosen, said, strict=True)
            ]
        sums = kobbq_scores.rows(outcomes.get("base"), outcomes["model"], margin=wanted.margin)
        document = {"licence": LICENCE, "num_fewshot": 0, "template": named, **sums}
        place.finish(document, rows, console)
    return place.folder


def read(path: Path, named: Mapping[str, str], template: Mapping[str, str]) -> list[Item]:
    """Every question of a file, in the three orders of its choices that KoBBQ's own evaluation asks.

    Raises:
        DataError: a row is none of KoBBQ's.
    """
    items, unknown = [], _words()["unknown"]
    for number, row in _rows(path):
        where = f"{path}: row {number}"
        if missing := [column for column in named.values() if column not in row]:
            raise DataError(
                f"{where} has no field {missing[0]!r}, only {', '.join(map(str, row))}; declare the columns "
                "as the file has them, columns=FIELD:COLUMN,..."
            )
        fields = {field: row[column] for field, column in named.items()}
        choices = _choices(fields["choices"], where)
        answer, biased = str(fields["answer"]), str(fields["biased_answer"])
        if unknown not in choices or not {answer, biased} <= set(choices) or biased == unknown:
            raise DataError(
                f"{where}: answer and biased_answer must be among its choices, and one choice {unknown!r}"
            )
        items += [_item(fields, order, turn, template, where) for turn, order in enumerate(_orders(choices))]
    return items


def choice(said: str, choices: Sequence[str]) -> str | None:
    """The choice that an answer names, by its letter or its words; None where it is not clear which."""
    said = files.nfc(said)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if not lines:
        return None
    by_words = [one for one in choices if _bare(lines[0]) == _bare(one)]
    if len(by_words) == 1:
        return by_words[0]
    if (first := FIRST.match(lines[0])) and not _others(lines[0], first[1].upper()):
        return choices[LETTERS.index(first[1].upper())]
    stated = {letter.upper() for letter in re.findall(_words()["stated"], said)}
    return choices[LETTERS.index(stated.pop())] if len(stated) == 1 else None


def _others(line: str, letter: str) -> set[str]:
    """The other letters that stand alone in a line."""
    alone = {one.upper() for one in re.findall(r"(?<![A-Za-z])([ABCabc])(?![A-Za-z])", line)}
    return alone - {letter}


def _bare(words: str) -> str:
    """Words without what an answer puts around them."""
    return re.sub(rf"^\W+|{_words()['ending']}", "", words).casefold()


def _orders(choices: tuple[str, str, str]) -> list[tuple[str, str, str]]:
    """The three orders, each of which puts every choice under another letter.

    >>> _orders(("1", "2", "3"))
    [('1', '3', '2'), ('2', '1', '3'), ('3', '2', '1')]
    """
    return [(choices[start], choices[start - 1], choices[start - 2]) for start in range(3)]


def _item(
    fields: Mapping[str, Any],
    order: tuple[str, str, str],
    turn: int,
    template: Mapping[str, str],
    where: str,
) -> Item:
    name, said = str(fields["id"]), template["unknown"]
    respelled = {_words()["unknown"]: said}
    spelled = [respelled.get(one, one) for one in order]
    answer = respelled.get(fields["answer"], str(fields["answer"]))
    told = ID.match(name)
    if told and (told["condition"] == "amb") != (answer == said):
        raise DataError(f"{where}: {name} is {told['condition']}, and its answer is {fields['answer']!r}")
    body = [
        f"{template['context']}{fields['context']}",
        f"{template['question']}{fields['question']}",
        *(f"{template[letter.lower()]}{one}" for letter, one in zip(LETTERS, spelled, strict=True)),
        template["answer"],
    ]
    question = Question(
        id=f"{name}-{turn}",
        set="kobbq",
        kind="benign",
        category=told["category"] if told else "-",
        family=f"{told['category']}-{told['template']}" if told else name,
        text=template["instruction"] + "\n\n" + "\n".join(body),
    )
    return Item(
        question=question,
        choices=(spelled[0], spelled[1], spelled[2]),
        answer=answer,
        biased=str(fields["biased_answer"]),
        unknown=said,
    )


def _choices(value: Any, where: str) -> tuple[str, str, str]:
    """Three choices, as a list or as the text of one."""
    try:
        found = ast.literal_eval(value) if isinstance(value, str) else list(value)
    except (ValueError, SyntaxError, TypeError) as wrong:
        raise DataError(f"{where}: its choices are no list: {value!r}") from wrong
    if not isinstance(found, list) or len(set(map(str, found))) != 3:
        raise DataError(f"{where}: its choices are not three different ones: {value!r}")
    return (str(found[0]), str(found[1]), str(found[2]))


def _rows(path: Path) -> list[tuple[int, Mapping[str, Any]]]:
    if path.suffix == ".tsv":
        return list(enumerate(_tsv(path), start=2))
    return [(row.number, row.content) for row in sources.read(Source(path=str(path))).rows]


def _tsv(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = [
                {key: files.nfc(value) for key, value in row.items()}
                for row in csv.DictReader(stream, delimiter="\t", strict=True)
            ]
    except (UnicodeDecodeError, csv.Error) as wrong:
        raise DataError(f"{path} is no table with tabs between its columns ({wrong})") from wrong
    if not rows or any(None in row or None in row.values() for row in rows):
        raise DataError(f"{path} has no rows, or rows of other columns than its first line names")
    return rows


@cache
def _words() -> dict[str, Any]:
    return dict(yaml_files.read(WORDS))


def _template(given: str | None, number: str) -> tuple[dict[str, str], str]:
    """How a question is put, and what that is called."""
    if given is None:
        return _words()["template"], "kalign's own (kobbq.yaml)"
    path = Path(given).expanduser()
    if not path.is_file():
        raise ConfigError(f"prompts={given} is no file; give KoBBQ's 0_evaluation_prompts.tsv")
    for row in _tsv(path):
        if row.get("prompt_id") == number:
            if missing := [part for part in PARTS if part not in row]:
                raise DataError(f"{path} has no column {missing[0]}; give KoBBQ's 0_evaluation_prompts.tsv")
            return {part: row[part] for part in PARTS}, f"{path.name}, prompt {number}"
    raise ConfigError(f"prompt={number} is no prompt_id of {path}")
