"""The answers of one model, each asked for once: a file that grows, survives being killed, and knows whose
answers it holds."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from kalign import files, runs
from kalign.errors import IntegrityError
from kalign.evaluation.questions import Question, digest
from kalign.records import Said

COLUMNS = ("set", "id", "sha256", "response", "tokens", "whole")


class Asker(Protocol):
    """Anything that answers questions, in groups whose composition never changes."""

    def identity(self) -> dict[str, Any]:
        """What decides how it is asked, beside the weights."""

    def groups(self, questions: Sequence[Question]) -> list[list[int]]:
        """The places of the questions that are asked together."""

    def answer(self, questions: Sequence[Question], *, adapter: bool) -> list[Said]:
        """The answers, in order."""


def collect(
    path: Path, questions: Sequence[Question], asker: Asker, *, whose: Mapping[str, Any], adapter: bool
) -> list[Said]:
    """Every answer, in the order of the questions; only those that the file lacks are asked for.

    A group that was not written as a whole is asked again as a whole, so an interrupted file ends as the same
    bytes as an uninterrupted one.

    Args:
        whose: what makes the answers this model's own.

    Raises:
        IntegrityError: the file holds another model's answers, or answers to other prompts.
    """
    head = {"whose": dict(whose), "asked": asker.identity(), "questions": digest(questions)}
    groups = asker.groups(questions)
    rows = _kept(path, head, questions, groups)
    missing = groups[_whole_groups(groups, len(rows)) :]
    with path.open("a", encoding="utf-8") as stream:
        label = f"answers of {'the model' if adapter else 'the base'}"
        for places in tqdm(missing, desc=label, unit="batch", leave=False):
            some = [questions[place] for place in places]
            new = [
                _row(one, said) for one, said in zip(some, asker.answer(some, adapter=adapter), strict=True)
            ]
            stream.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in new))
            stream.flush()
            rows += new
    return _ordered(rows, questions)


def read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The head of a file of answers, and its rows.

    Raises:
        IntegrityError: it is none.
    """
    try:
        lines = [row for _, row in files.read_jsonl(path, own=True)]
    except ValueError as wrong:
        raise IntegrityError(f"{path} is damaged ({wrong}); remove it and run the command again") from wrong
    if not lines:
        return {}, []
    if "whose" not in lines[0] or any(set(row) != set(COLUMNS) for row in lines[1:]):
        raise IntegrityError(f"{path} is no file of answers; remove it and run the command again")
    return lines[0], lines[1:]


def _kept(
    path: Path, head: Mapping[str, Any], questions: Sequence[Question], groups: Sequence[Sequence[int]]
) -> list[dict[str, Any]]:
    """The rows that stay, after the file was cut to whole groups."""
    found, rows = read(path) if path.exists() else ({}, [])
    if found and runs.canonical(found) != runs.canonical(head):
        raise IntegrityError(f"{path} {_difference(found, head)}; remove the folder, or give another out=DIR")
    in_order = [questions[place] for places in groups for place in places]
    for row, one in zip(rows, in_order, strict=False):
        if (row["set"], row["id"], row["sha256"]) != (one.set, one.id, one.sha256):
            raise IntegrityError(f"{path} holds its answers in another order; remove it and run again")
    whole = sum(len(places) for places in groups[: _whole_groups(groups, len(rows))])
    files.write_jsonl(path, [head, *rows[:whole]])
    return rows[:whole]


def _difference(found: Mapping[str, Any], head: Mapping[str, Any]) -> str:
    if runs.canonical(found["whose"]) != runs.canonical(head["whose"]):
        return "holds the answers of another model"
    if found["questions"] != head["questions"]:
        return "holds answers to other prompts"
    changed = [key for key in head["asked"] if found["asked"].get(key) != head["asked"][key]]
    return f"holds answers that were asked for otherwise ({', '.join(changed)})"


def _whole_groups(groups: Sequence[Sequence[int]], rows: int) -> int:
    """How many groups, from the first, are whole among that many rows."""
    counted = 0
    for number, places in enumerate(groups):
        counted += len(places)
        if counted > rows:
            return number
    return len(groups)


def _row(question: Question, said: Said) -> dict[str, Any]:
    return {
        "set": question.set,
        "id": question.id,
        "sha256": question.sha256,
        "response": files.nfc(said.text),  # as it will be read back
        "tokens": said.tokens,
        "whole": said.whole,
    }


def _ordered(rows: Sequence[Mapping[str, Any]], questions: Sequence[Question]) -> list[Said]:
    by_key = {(row["set"], row["id"]): row for row in rows}
    found = [by_key[one.set, one.id] for one in questions]
    return [Said(text=row["response"], tokens=row["tokens"], whole=row["whole"]) for row in found]
