"""Rebuild the norms, survey and lexicon of two invented cultures: python -m kalign.associations.synthetic

Both cultures have the same cues, in kinds such as meals or weather. To a cue of a kind, people of a culture
name that culture's ten words of the kind, the first most often; two of the ten are common to both cultures,
and one answer in 25 is any word of the culture. Nothing here was said by anybody.
"""

import csv
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import yaml

from kalign import files
from kalign.associations.draws import chance_of
from kalign.associations.norms import BUNDLED

CULTURES = ("hill", "shore")
PARTICIPANTS = 30
NOISE = 0.04  # share of the answers that are any word of the culture
WORDS = BUNDLED / "words.yaml"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of cues, and what each culture names for them, the most frequent first."""

    name: str
    cues: tuple[str, ...]
    known: tuple[str, ...]
    words: Mapping[str, tuple[str, ...]]


def kinds(path: Path = WORDS) -> list[Kind]:
    """The kinds of the word file; the two common words stand third and sixth in both cultures."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    found = []
    for name, row in content.items():
        words = {}
        for culture in CULTURES:
            own = list(row[culture])
            words[culture] = (*own[:2], row["both"][0], *own[2:4], row["both"][1], *own[4:])
        found.append(Kind(name=name, cues=tuple(row["cues"]), known=tuple(row["known"]), words=words))
    return found


def associates(kind: Kind, culture: str, *seed: object, count: int) -> list[str]:
    """What one person names for a cue of a kind: `count` different words, drawn by 1 / rank."""
    chance = chance_of("people", kind.name, culture, *seed)
    left = list(kind.words[culture])
    weights = [1 / rank for rank in range(1, len(left) + 1)]
    named: list[str] = []
    for _ in range(count):
        place = chance.choices(range(len(left)), weights)[0]
        named.append(left.pop(place))
        weights.pop(place)
    return named


def rows(culture: str) -> Iterator[dict[str, str]]:
    """Every participant's three answers to every cue."""
    everything = [word for kind in kinds() for word in kind.words[culture]]
    for kind in kinds():
        for cue in kind.cues:
            for participant in range(1, PARTICIPANTS + 1):
                named = associates(kind, culture, cue, participant, count=3)
                chance = chance_of("noise", culture, cue, participant)
                answers = [chance.choice(everything) if chance.random() < NOISE else word for word in named]
                yield {"participantID": str(participant), "cue": cue} | {
                    f"R{place}": word for place, word in enumerate(answers, start=1)
                }


def items() -> Iterator[dict[str, object]]:
    """A survey on cues that no norm has: which of four words fits, from the hill's to the shore's."""
    for kind in kinds():
        hill, shore = (
            [word for word in kind.words[culture] if word not in kind.words[other]]
            for culture, other in (CULTURES, CULTURES[::-1])
        )
        for number, cue in enumerate(kind.known):
            some = [hill[number % 3], hill[number % 3 + 1], shore[number % 3 + 1], shore[number % 3]]
            yield {
                "id": f"{kind.name}-{cue}",
                "section": kind.name,
                "question": cue,
                "options": some,
                "ordinal": True,
                "dist": {"hill": [0.5, 0.35, 0.1, 0.05], "shore": [0.05, 0.1, 0.35, 0.5]},
            }


def feelings() -> Iterator[dict[str, str]]:
    """Invented values of every word: the hill's words are concrete and calm, the shore's the contrary."""
    known = {word: culture for kind in kinds() for culture in CULTURES for word in kind.words[culture]}
    shared = {word for kind in kinds() for word in set(kind.words["hill"]) & set(kind.words["shore"])}
    middles = {  # of the hill and of the shore
        "valence": (5.5, 6.5),
        "arousal": (3.5, 5.5),
        "dominance": (5.0, 5.0),
        "concreteness": (4.3, 3.2),
    }
    for word in sorted(known):
        values = {}
        for name, middle in middles.items():
            lean = 0.5 if word in shared else float(known[word] == "shore")
            digest = sha256(f"{name}:{word}".encode()).digest()[0] / 255 - 0.5
            values[name] = f"{middle[0] + lean * (middle[1] - middle[0]) + digest:.2f}"
        yield {"word": word, **values}


def build(folder: Path) -> None:
    """Write all files."""
    for culture in CULTURES:
        _write(folder / f"{culture}.csv", list(rows(culture)))
    _write(folder / "feelings.tsv", list(feelings()), delimiter="\t")
    files.write_jsonl(folder / "survey.jsonl", items())


def _write(path: Path, content: list[dict[str, str]], *, delimiter: str = ",") -> None:
    with files.atomic(path) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(content[0]), delimiter=delimiter, lineterminator="\n")
        writer.writeheader()
        writer.writerows(content)


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else BUNDLED)
