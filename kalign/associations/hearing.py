"""Asking a model, and keeping what it said in a file that grows: killed while it answered, it goes on where
it stopped, and nothing is asked twice."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from kalign import files, runs
from kalign.associations import survey
from kalign.associations.evaluate import Questions
from kalign.associations.speaker import Speaks, free
from kalign.errors import DataError, IntegrityError

PARTS = ("lists", "rankings", "survey")
CHUNK = 256  # questions after which a file grows


def digest(asked: Questions) -> str:
    """The hash of everything that is asked, by which answers are known to fit."""
    return runs.fingerprint(
        {
            "asked": [[turn.content for turn in each.prompt] for each in (*asked.lists, *asked.rankings)],
            "items": [asdict(item) for item in asked.items],
            "survey": dict(asked.texts.tasks["survey"]) if asked.items else None,
            "orders": asked.orders,
        }
    )


def collect(
    path: Path,
    asked: Questions,
    speak: Callable[[], Speaks],
    *,
    whose: Mapping[str, Any],
    console: Console,
    name: str,
) -> dict[str, Any]:
    """All that one model answers, as plain values by part: from a file as far as it holds them; the model is
    only loaded for what it lacks.

    Args:
        whose: what makes the answers this model's own, and how it is asked.

    Raises:
        IntegrityError: the file holds another model's answers, or answers to other questions.
    """
    head = {"whose": json.loads(runs.canonical(whose)), "questions": digest(asked)}
    said = _kept(path, head, asked)
    missing = [(part, places) for part, places in chunks(asked) if places.start >= len(said[part])]
    if not missing:
        return said
    console.print(f"Asking {name}", style="dim", soft_wrap=True)
    speaker = speak()
    with path.open("a", encoding="utf-8") as stream:
        for part, places in missing:
            new = answered(speaker, asked, part, places)
            said[part] += new
            stream.write(json.dumps({"part": part, "said": new}, ensure_ascii=False) + "\n")
            stream.flush()
    del speaker
    free()
    return said


def chunks(asked: Questions) -> Iterator[tuple[str, range]]:
    """The questions in the pieces in which they are answered: a part, and the places in it."""
    for part, some in zip(PARTS, (asked.lists, asked.rankings, asked.items), strict=True):
        for start in range(0, len(some), CHUNK):
            yield part, range(start, min(start + CHUNK, len(some)))


def answered(speaker: Speaks, asked: Questions, part: str, places: range) -> list[Any]:
    """One piece: texts, or the shares of the options of a survey's items."""
    if part == "survey":
        some = [asked.items[place] for place in places]
        found = survey.answered(some, speaker.logprobs, asked.texts, count=asked.orders, seed=asked.seed)
        return [list(shares) for shares in found]
    examples: Sequence[Any] = asked.lists if part == "lists" else asked.rankings
    return [files.nfc(text) for text in speaker.answers([examples[place].prompt for place in places])]


def _kept(path: Path, head: Mapping[str, Any], asked: Questions) -> dict[str, list[Any]]:
    """What the file holds of it; it is begun where there is none."""
    rows: list[dict[str, Any]] = []
    if path.exists():
        try:
            rows = [row for _, row in files.read_jsonl(path, own=True)]
        except DataError as wrong:
            raise IntegrityError(f"{path} is damaged ({wrong}); remove it and ask again") from wrong
    if rows and rows[0] != head:
        what = (
            "answers of another model"
            if rows[0].get("whose") != head["whose"]
            else "answers to other questions"
        )
        raise IntegrityError(f"{path} holds {what}; remove it, or give another out=DIR")
    said: dict[str, list[Any]] = {part: [] for part in PARTS}
    for row in rows[1:]:
        said[row["part"]] += row["said"]
    files.write_jsonl(path, rows or [dict(head)])  # without a last line that was torn
    return said
