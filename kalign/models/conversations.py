"""The conversations on which a chat template is examined: what breaks templates, and what merely looks so."""

import json
from dataclasses import dataclass
from pathlib import Path

from kalign.records import Message, Triplet

CONVERSATIONS = Path(__file__).parent / "conversations.jsonl"
OTHER_ANSWER = "This is another answer."


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """One conversation of the battery, ending with the answer that is trained."""

    id: str
    about: str
    turns: tuple[Message, ...]
    drops: tuple[str, ...] = ()  # reasons for which training may drop it, if the template cannot keep it

    @property
    def triplet(self) -> Triplet:
        """The conversation as training sees it."""
        return Triplet(
            id=self.id,
            prompt=self.turns[:-1],
            chosen=self.turns[-1:],
            rejected=(Message(role="assistant", content=OTHER_ANSWER),),
        )


def battery() -> list[Conversation]:
    """The conversations, every character as it is written in the file: files.read_jsonl would compose NFD."""
    rows = map(json.loads, CONVERSATIONS.read_text(encoding="utf-8").removesuffix("\n").split("\n"))
    return [
        Conversation(
            id=row["id"],
            about=row["about"],
            turns=tuple(Message(role=role, content=content) for role, content in row["turns"]),
            drops=tuple(row.get("drops", ())),
        )
        for row in rows
    ]
