"""A made-up pack: what `kalign pack new` writes, filled with generated words of an invented language."""

import random
from pathlib import Path

import pytest

from kalign.packs import start
from tests.conftest import write

SYLLABLES = [consonant + vowel for consonant in "bdfglmnprstvz" for vowel in "aeiou"]
TYPES = ("queue_jumping", "raffle_fixing")


def words(count: int, chance: random.Random) -> str:
    """So many made-up words, as a sentence."""
    made = ["".join(chance.choices(SYLLABLES, k=chance.randint(1, 3))) for _ in range(count)]
    return " ".join(made).capitalize() + "."


def filled(folder: Path, *, pairs: int = 24) -> Path:
    """A new pack in `folder` that has no findings."""
    start.new(str(folder))
    for path in folder.rglob("*.yaml"):
        text = (
            path.read_text(encoding="utf-8").replace("{en:", "{art:").replace("language: en", "language: art")
        )
        text = text.replace("Saltmarsh", "Reedholm").replace("Everybody who waits", "Each of them")
        path.write_text(text, encoding="utf-8")
    chance = random.Random(0)
    write(
        folder / "pairs.jsonl",
        [
            {
                "id": f"Q-{number:03}",
                "category": "Q",
                "type": TYPES[number % 2],
                "prompt": words(8, chance),
                "chosen": words(14, chance),
                "rejected": words(9, chance),
                "failure": "over_refusal",
            }
            for number in range(pairs)
        ],
    )
    held_out = []
    for number, kind in enumerate(TYPES):
        row = {"category": "Q", "type": kind}
        held_out.append(row | {"id": f"h{number}", "kind": "harmful", "prompt": words(8, chance)})
        held_out.append(
            row | {"id": f"b{number}", "kind": "benign", "twin": f"h{number}", "prompt": words(8, chance)}
        )
    write(folder / "held_out.jsonl", held_out)
    return folder


@pytest.fixture
def isle(tmp_path: Path) -> Path:
    """The folder of such a pack."""
    return filled(tmp_path / "isle")
