"""From a row to a triplet: every preference layout that TRL accepts, under declared column names.

| prompt column | chosen and rejected | read as |
|---|---|---|
| text or messages | text | one assistant turn each |
| text or messages | messages | the answer's turns; a prompt repeated at their beginning is taken off |
| null (implicit) | messages | what both share at the beginning is the prompt |
| null (implicit) | text | the same, up to the last white space they share |

Where a row has one answer only (rejected: null), an implicit prompt is all turns before the last one.
"""

import os
import re
from collections.abc import Sequence
from typing import Any

from kalign.config import Columns
from kalign.records import Message, Triplet

Turns = tuple[Message, ...]
# A list of messages that went through str() or JSON, as it does on its way through CSV
SPELLED = re.compile(r"\s*\[\s*\{\s*(['\"])(?:role|content)\1\s*:.*\}\s*\]\s*", re.DOTALL)


def triplet(row: dict[str, Any], columns: Columns, identity: str) -> Triplet:
    """The triplet that a row holds.

    Raises:
        ValueError: the row has not these columns, or they hold something else.
        UnusableTriplet: it is a triplet from which nothing can be learned.
    """
    for name, role in ((columns.chosen, "chosen"), (columns.rejected, "rejected")):
        if name is not None and name not in row:
            raise ValueError(_missing(name, role, row))
    if columns.prompt is not None and columns.prompt not in row:
        raise ValueError(
            _missing(columns.prompt, "prompt", row)
            + ", or data.columns.prompt=null if both answers begin with it"
        )
    if columns.rejected is None:
        prompt, good = _one_answer(row, columns)
        return Triplet(id=identity, prompt=prompt, chosen=good, rejected=())
    chosen, rejected = row[columns.chosen], row[columns.rejected]
    if _spelled(chosen) and _spelled(rejected):
        raise ValueError(
            f"{columns.chosen} and {columns.rejected} are lists of messages written as text, which would be "
            "learned letter by letter; save them as lists, which .jsonl and .parquet can hold and .csv cannot"
        )
    if isinstance(chosen, list) != isinstance(rejected, list):
        raise ValueError(f"{columns.chosen} and {columns.rejected} must both be text or both be messages")
    if isinstance(chosen, list):
        prompt, good, bad = _of_messages(row, columns, _messages(chosen), _messages(rejected))
    else:
        prompt, good, bad = _of_texts(
            row, columns, _text(chosen, columns.chosen), _text(rejected, columns.rejected)
        )
    return Triplet(id=identity, prompt=prompt, chosen=good, rejected=bad)


def _one_answer(row: dict[str, Any], columns: Columns) -> tuple[Turns, Turns]:
    """Prompt and answer of a row without a worse answer."""
    value = row[columns.chosen]
    answer = _messages(value) if isinstance(value, list) else _answer(_text(value, columns.chosen))
    if columns.prompt is None:
        if not isinstance(value, list):
            raise ValueError(
                f"{columns.chosen} is one text, so nothing says where its prompt ends; name the column of "
                "the prompt, data.columns.prompt=NAME"
            )
        return answer[:-1], answer[-1:]
    prompt = _turns(row[columns.prompt], columns.prompt)
    if answer and answer[0].role == "assistant":
        return prompt, answer
    if answer[: len(prompt)] != prompt:
        raise ValueError(f"{columns.chosen} begins with other turns than {columns.prompt}")
    return prompt, answer[len(prompt) :]


def _of_messages(
    row: dict[str, Any], columns: Columns, chosen: Turns, rejected: Turns
) -> tuple[Turns, Turns, Turns]:
    if columns.prompt is None:
        prompt = _shared(chosen, rejected)
        if not prompt:
            raise ValueError(
                f"{columns.chosen} and {columns.rejected} share no turn at their beginning, so there is no "
                "prompt"
            )
    else:
        prompt = _turns(row[columns.prompt], columns.prompt)
        if chosen and chosen[0].role != "assistant":
            prompt = _repeated(prompt, chosen, rejected)
            if not prompt:
                raise ValueError(f"{columns.chosen} begins with other turns than {columns.prompt}")
        else:
            return prompt, chosen, rejected
    return prompt, chosen[len(prompt) :], rejected[len(prompt) :]


def _of_texts(
    row: dict[str, Any], columns: Columns, chosen: str, rejected: str
) -> tuple[Turns, Turns, Turns]:
    if columns.prompt is not None:
        return _turns(row[columns.prompt], columns.prompt), _answer(chosen), _answer(rejected)
    shared = os.path.commonprefix([chosen, rejected])
    if shared not in (chosen, rejected):  # they part inside a word: the prompt ends before it
        shared = shared[: len(shared.rstrip()) if shared != shared.rstrip() else _last_space(shared)]
    if not shared.strip():
        raise ValueError(
            f"{columns.chosen} and {columns.rejected} share no words at their beginning, so there is no "
            "prompt"
        )
    cut = len(shared)
    return _turns(shared.strip(), "prompt"), _answer(chosen[cut:].strip()), _answer(rejected[cut:].strip())


def _last_space(text: str) -> int:
    return max((index for index, letter in enumerate(text) if letter.isspace()), default=0)


def _shared(chosen: Turns, rejected: Turns) -> Turns:
    """The turns that both begin with, up to the last one that is not the assistant's."""
    shared: list[Message] = []
    for one, other in zip(chosen, rejected, strict=False):
        if one != other:
            break
        shared.append(one)
    while shared and (shared[-1].role == "assistant" or len(shared) == min(len(chosen), len(rejected))):
        shared.pop()
    return tuple(shared)


def _repeated(prompt: Turns, chosen: Turns, rejected: Turns) -> Turns:
    """The beginning of both answers that ends with the prompt's last turn: its repetition, with earlier turns
    if any."""
    shared = _shared(chosen, rejected)
    return shared if shared and shared[-1].content.strip() == prompt[-1].content.strip() else ()


def _turns(value: Any, column: str) -> Turns:
    return (
        _messages(value) if isinstance(value, list) else (Message(role="user", content=_text(value, column)),)
    )


def _messages(value: Sequence[Any]) -> Turns:
    turns = []
    for turn in value:
        if not isinstance(turn, dict) or not {"role", "content"} <= turn.keys():
            raise ValueError(f"a turn is {turn!r:.60}, not {{'role': ..., 'content': ...}}")
        turns.append(Message(role=turn["role"], content=turn["content"]))
    return tuple(turns)


def _spelled(value: Any) -> bool:
    return isinstance(value, str) and SPELLED.fullmatch(value) is not None


def _answer(text: str) -> Turns:
    return (Message(role="assistant", content=text),)


def _text(value: Any, column: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{column} is {type(value).__name__}, not text or a list of messages")
    return value


def _missing(name: str, role: str, row: dict[str, Any]) -> str:
    return f"there is no column {name!r}, only {', '.join(map(repr, row))}; give data.columns.{role}=NAME"
