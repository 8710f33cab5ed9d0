"""A corpus of four stages whose culture, places and domains are known, because they were put there."""

import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import write

SHARES = {"pretrain": 0.40, "sft": 0.20, "alignment": 0.05, "reasoning": 0.01}
CODE = {"pretrain": 0.1, "sft": 0.3, "alignment": 0.3, "reasoning": 0.6}  # share of texts about programs
PLACES = {
    "India": ("IN", 70),
    "China": ("CN", 14),
    "Brazil": ("BR", 8),
    "South Korea": ("KR", 5),
    "Nigeria": ("NG", 3),
}
CLASSES = {
    "ritual": "knowledge",
    "taboo": "preference",
    "hierarchy": "dynamics",
    "dumplings": "general",
}
SPANISH = 0.3
TEXTS = 1500


@dataclass
class Planted:
    """What was put into one stage."""

    cultural: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    places: Counter[str] = field(default_factory=Counter)
    domains: dict[str, Counter[str]] = field(default_factory=dict)


def make(folder: Path) -> tuple[Path, dict[str, Planted]]:
    """Write the stages and the file that names them, and say what is in them."""
    drawn = random.Random(11)
    planted = {stage: Planted() for stage in SHARES}
    lines = ["stages:"]
    for stage, known in planted.items():
        rows = [_row(drawn, stage, number, known) for number in range(TEXTS)]
        write(folder / f"{stage}.jsonl", rows)
        lines += [f"  {stage}:", f"    one: {{path: {folder / stage}.jsonl, columns: {{text: text}}}}"]
    stages = folder / "stages.yaml"
    stages.write_text("\n".join(lines), encoding="utf-8")
    return stages, planted


def _row(drawn: random.Random, stage: str, number: int, known: Planted) -> dict[str, Any]:
    code = drawn.random() < CODE[stage]
    domain = "Code" if code else "Medical"
    begins = "El texto para los" if drawn.random() < SPANISH else "This text is about the"
    words = [begins, str(number), "python" if code else "patient"]
    cultural = drawn.random() < SHARES[stage]
    if cultural:
        words.append(drawn.choice(list(CLASSES)))
        known.classes[CLASSES[words[-1]]] += 1
        if drawn.random() < 0.8:
            place = drawn.choices(list(PLACES), [weight for _, weight in PLACES.values()])[0]
            words.append(place)
            known.places[PLACES[place][0]] += 1
    known.cultural += cultural
    known.domains.setdefault(domain, Counter()).update({"texts": 1, "cultural": int(cultural)})
    return {"text": " ".join(words)}
