"""A rubric: what a judge is asked, as messages that no judged text can break out of.

The instructions stand in the system turn, the texts in the user turn as one JSON document. A nonce that
depends on every judged text stands in the instructions alone, so that no text can hold it.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from kalign import yaml_files
from kalign.providers import Provider, Request, Sampling
from kalign.records import Message

FRAMES = Path(__file__).parent / "frames.yaml"
VERSION = 1  # part of every nonce; raise it when the messages take another form
NONCE_LETTERS = 12
# Characters that nobody sees, but a model reads: controls, formats such as zero width and bidirectional marks
UNSEEN = ("Cc", "Cf")
KEPT = "\n\t"

Verdict = str | int


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One thing that a judge decides, and the closed set of what it may say."""

    id: str
    text: str
    verdicts: tuple[Verdict, ...]

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.id):
            raise ValueError(f"question {self.id!r} is no name; use small letters, digits and '_'")
        if len(set(self.verdicts)) < 2:
            raise ValueError(f"question {self.id} has {len(self.verdicts)} verdicts; give it two or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rubric:
    """What a judge is told, and its questions; `language` is that of the texts (BCP 47)."""

    name: str
    language: str
    task: str
    questions: tuple[Question, ...]

    def __post_init__(self) -> None:
        names = [question.id for question in self.questions]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"rubric {self.name} needs questions, each with an id of its own")

    @property
    def sha256(self) -> str:
        """The hash of all that a judge is told besides the judged texts."""
        return hashlib.sha256(self._instructions("").encode()).hexdigest()

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of an answer. The nonce is any text: a decoder that is held to the right one would
        prove nothing."""
        asked = {question.id: {"enum": list(question.verdicts)} for question in self.questions}
        verdicts = {
            "type": "object",
            "properties": asked,
            "required": list(asked),
            "additionalProperties": False,
        }
        return {
            "type": "object",
            "properties": {"nonce": {"type": "string"}, "verdicts": verdicts, "reason": {"type": "string"}},
            "required": ["nonce", "verdicts", "reason"],
            "additionalProperties": False,
        }

    def nonce(self, data: Mapping[str, Any]) -> str:
        """What a judge of `data` must repeat: it changes with every letter of the data, so none can hold
        it."""
        said = f"{VERSION}\0{self._instructions('')}\0{_document(data)}"
        return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:NONCE_LETTERS]

    def messages(self, data: Mapping[str, Any]) -> tuple[Message, ...]:
        """What a judge is sent: the instructions, and the data without what nobody sees."""
        return (
            Message(role="system", content=self._instructions(self.nonce(data))),
            Message(role="user", content=_document(data)),
        )

    def request(
        self,
        judge: Provider,
        data: Mapping[str, Any],
        *,
        sampling: Sampling | None = None,
        sample: int = 0,
        about: str = "",
    ) -> Request:
        """The question to one judge; `sampling` is the judge's own unless given."""
        return Request(
            provider=judge,
            messages=self.messages(data),
            schema=self.schema,
            sampling=sampling,
            sample=sample,
            about=about,
        )

    def _instructions(self, nonce: str) -> str:
        frame = _frame(self.language)
        asked = [
            f"- {question.id} ({', '.join(map(str, question.verdicts))}): {question.text.strip()}"
            for question in self.questions
        ]
        shown = {
            "nonce": nonce,
            "verdicts": {question.id: "..." for question in self.questions},
            "reason": "...",
        }
        form = json.dumps(shown, ensure_ascii=False)
        parts = [self.task.strip(), "\n".join(asked), frame["data"], f"{frame['form']}\n{form}"]
        return "\n\n".join(part.strip() for part in parts)


def seen(text: str) -> str:
    """The text as a reader sees it: composed, without controls, zero-width and bidirectional marks.

    >>> seen("sa\\u200bfe\\x00")
    'safe'
    """
    composed = unicodedata.normalize("NFC", text)
    return "".join(
        letter for letter in composed if letter in KEPT or unicodedata.category(letter) not in UNSEEN
    )


def _document(data: Mapping[str, Any]) -> str:
    return json.dumps(_seen(data), ensure_ascii=False, sort_keys=True)


def _seen(value: Any) -> Any:
    if isinstance(value, str):
        return seen(value)
    if isinstance(value, Mapping):
        return {key: _seen(item) for key, item in value.items()}
    return [_seen(item) for item in value] if isinstance(value, list | tuple) else value


@cache
def _frames() -> dict[str, dict[str, str]]:
    return dict(yaml_files.read(FRAMES))


def _frame(language: str) -> dict[str, str]:
    """What every judge is told in that language, or in English where nobody has written it down."""
    frames = _frames()
    return frames.get(language) or frames.get(language.split("-")[0]) or frames["en"]
