"""One evaluation of models on word associations, in one folder:

evals/align-tiny_align-1a2b3c4d-5e6f7a8b/
    answers/        model.jsonl, base.jsonl and one for each control: every answer, each asked for once
    scores.parquet  one row an answer: what was asked and said, and each of its numbers
    eval.json       sums, intervals, changes against the base, survey, affect; written last
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from kalign import files, runs
from kalign.associations import evaluate, hearing
from kalign.associations.evaluate import Questions
from kalign.associations.measure_report import FILE, SCORES, SYSTEM
from kalign.associations.speaker import Speaks
from kalign.records import Message
from kalign.runs import Run

TEXTS = ("arm", "part", "id", "cue", "prompt", "response")


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A model that is asked.

    Args:
        identity: what decides its answers: its weights, and how they are held.
        speak: loads it.
        shot: turns that stand before each list that it is asked for; an arm with them is asked nothing else.
    """

    title: str
    identity: Mapping[str, Any]
    speak: Callable[[], Speaks]
    shot: tuple[Message, ...] = ()


def measure(
    arms: Mapping[str, Arm],
    asked: Questions,
    folder: Path,
    *,
    how: Mapping[str, Any],
    about: Mapping[str, Any],
    console: Console,
) -> dict[str, Any]:
    """Ask what was not asked before, write the files, and return the document of eval.json.

    Args:
        arms: `model`, `base` if there is one, and the controls.
        how: they are asked: the longest answer, the batch.
        about: the questions and the norms, for whoever reads the document.

    Raises:
        KalignError: a model cannot be loaded, or the folder holds something else.
    """
    with runs.locked(Run(folder)):
        heard, questions = {}, {}
        for name, arm in arms.items():
            questions[name] = shown(asked, arm.shot) if arm.shot else asked
            heard[name] = hearing.collect(
                folder / "answers" / f"{name}.jsonl",
                questions[name],
                arm.speak,
                whose={"identity": dict(arm.identity), **how},
                console=console,
                name=f"{name} ({arm.title})",
            )
        _write(folder / SCORES, [row for name in arms for row in rows(name, heard[name], questions[name])])
        document = {
            "system": SYSTEM,
            "suite": {"name": "align", **about},
            "questions": hearing.digest(asked),
            "models": {
                name: {"name": arm.title, "identity": dict(arm.identity), "one_shot": bool(arm.shot)}
                for name, arm in arms.items()
            },
            "asked": {"decoding": "greedy", "orders": asked.orders, "compat": asked.compat, **how},
            "scores_sha256": files.sha256(folder / SCORES),
            "versions": runs.versions(),
            **evaluate.compared(heard, asked),
        }
        files.write_json(folder / FILE, document)
    return document


def shown(asked: Questions, shot: tuple[Message, ...]) -> Questions:
    """The lists alone, each asked for after an example."""
    lists = [dataclasses.replace(example, prompt=(*shot, *example.prompt)) for example in asked.lists]
    return dataclasses.replace(asked, lists=lists, rankings=[], items=[])


def rows(arm: str, said: Mapping[str, Sequence[Any]], asked: Questions) -> Iterator[dict[str, Any]]:
    """What one model said, a row an answer, with the numbers of each."""
    numbers = evaluate.scored(said, asked)
    for part, key, examples in (("lists", "own", asked.lists), ("rankings", "ranking", asked.rankings)):
        for place, (example, answer) in enumerate(zip(examples, said[part], strict=True)):
            row = {"arm": arm, "part": part, "id": example.id, "cue": example.group, "response": answer}
            row["prompt"] = "\n".join(turn.content for turn in example.prompt)
            yield row | numbers[key][place]
    for item, shares in zip(asked.items, said["survey"], strict=True):
        row = {
            "arm": arm,
            "part": "survey",
            "id": item.id,
            "cue": item.section or "",
            "prompt": item.question,
        }
        yield row | {"response": json.dumps(dict(zip(item.options, shares, strict=True)), ensure_ascii=False)}


def _write(path: Path, found: Sequence[Mapping[str, Any]]) -> None:
    numbers = list(dict.fromkeys(name for row in found for name in row if name not in TEXTS))
    columns = dict.fromkeys(TEXTS, "string") | dict.fromkeys(numbers, "float64")
    files.write_parquet(path, ({name: row.get(name) for name in columns} for row in found), columns)
