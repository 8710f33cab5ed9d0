"""What holds for the prompts of a pack: its pairs, and what nothing is trained on."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kalign import files
from kalign.errors import DataError
from kalign.files import Row
from kalign.packs import shapes
from kalign.packs.shapes import Finding, Key, Shape

PAIRS, HELD_OUT, WARMUP = "pairs.jsonl", "held_out.jsonl", "warmup.jsonl"
TEXT = Key(kind="text")
PAIR: Shape = dict.fromkeys(("id", "category", "type", "prompt", "chosen", "rejected", "failure"), TEXT)
PROMPT: Shape = dict.fromkeys(("id", "category", "type", "kind", "prompt"), TEXT)
EXCHANGE: Shape = dict.fromkeys(("prompt", "answer"), TEXT)
LETTER = re.compile(r"[^\W\d_]")
LEAST_LETTERS = 0.5  # share of an answer's letters that are letters of the pack's language

Placed = tuple[str, Row]  # where a row stands, and the row
Cites = Callable[[str], list[str]]


@dataclass(frozen=True, slots=True)
class Said:
    """A prompt, where it stands, and whose it is: twins have one owner, so they may be alike."""

    where: str
    owner: str
    prompt: str


def read(folder: Path, name: str, shape: Shape) -> tuple[list[Placed], list[Finding]]:
    """The rows of a file that have the shape, and what is wrong with the others; more keys are welcome."""
    if not (folder / name).is_file():
        return [], [Finding(name, "is missing", f"write it: a JSON object a line, with {', '.join(shape)}")]
    good: list[Placed] = []
    found: list[Finding] = []
    try:
        for number, row in files.read_jsonl(folder / name):
            where = f"{name}:{number}" + (f" ({row['id']})" if isinstance(row.get("id"), str) else "")
            wrong = list(shapes.faults(row, shape, where, language="", closed=False))
            found += wrong
            if not wrong:
                good.append((where, row))
    except DataError as wrong_file:
        found.append(
            Finding(name, *shapes.halves(str(wrong_file).removeprefix(f"{folder / name}").lstrip(": ")))
        )
    return good, found


def place_faults(rows: Sequence[Placed], types: Mapping[str, Sequence[str]], name: str) -> Iterator[Finding]:
    """Rows of a category or type that the taxonomy does not have, and categories without a row.

    Args:
        types: the ids of the types of each category.
    """
    unknown: dict[tuple[str, str], list[str]] = defaultdict(list)  # places by category and type
    for where, row in rows:
        category, kind = row["category"], row["type"]
        if category not in types:
            unknown[category, ""].append(where)
        elif f"{category}.{kind}" not in types[category]:
            unknown[category, kind].append(where)
    for (category, kind), places in unknown.items():
        rest = f" (and of {len(places) - 1} more rows)" if len(places) > 1 else ""
        if not kind:
            yield Finding(places[0], f"category {category}{rest} is not in the taxonomy", _one_of(types))
        else:
            slugs = [known.removeprefix(f"{category}.") for known in types[category]]
            yield Finding(places[0], f"type {kind}{rest} is none of category {category}", _one_of(slugs))
    for category in sorted(types.keys() - {row["category"] for _, row in rows}):
        yield Finding(name, f"category {category} has no row", "add some")


def untouched(pairs: Sequence[Placed], types: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Types that no pair is about."""
    touched = {f"{row['category']}.{row['type']}" for _, row in pairs}
    for known in types.values():
        for kind in known:
            if kind not in touched:
                yield Finding(PAIRS, f"no pair is of type {kind}", "add one, or remove the type")


def repeated(rows: Sequence[Placed], key: str) -> Iterator[Finding]:
    """Rows whose `key` another row has already."""
    first: dict[str, str] = {}
    for where, row in rows:
        if (earlier := first.setdefault(row[key], where)) != where:
            yield Finding(where, f"has the {key} of {earlier}", f"give each row its own {key}")


def answer_faults(pairs: Sequence[Placed], letters: re.Pattern[str], cites: Cites) -> Iterator[Finding]:
    """Answers that are the same, hardly in the pack's language, or cite what is not there."""
    for where, row in pairs:
        if row["chosen"].strip() == row["rejected"].strip():
            yield Finding(where, "chosen and rejected are the same", "say what is wrong in the rejected one")
        written = LETTER.findall(row["chosen"])
        own = sum(1 for letter in written if letters.match(letter))
        if own < LEAST_LETTERS * len(written):
            yield Finding(
                where,
                f"only {own} of {len(written)} letters of the chosen answer are the pack's",
                "write it in the pack's language, or mend letters in pack.yaml",
            )
        for wrong in cites(row["chosen"]):
            yield Finding(f"{where}.chosen", wrong, "mend or remove the citation")


def twin_faults(held_out: Sequence[Placed]) -> Iterator[Finding]:
    """Harmful prompts without exactly one benign twin, and twins of nothing."""
    harmful = {row["id"]: row for _, row in held_out if row["kind"] == "harmful"}
    twins = Counter(str(row.get("twin")) for _, row in held_out if row["kind"] == "benign")
    for where, row in held_out:
        if row["kind"] not in ("harmful", "benign"):
            yield Finding(where, f"kind {row['kind']} is unknown", "write harmful or benign")
        elif row["kind"] == "harmful":
            if twins[row["id"]] != 1:
                yield Finding(
                    where,
                    f"has {twins[row['id']]} benign twins",
                    f"add one row with kind benign, twin {row['id']}, and the same words asked lawfully",
                )
        elif row.get("twin") not in harmful:
            yield Finding(
                where, f"its twin {row.get('twin')} is no harmful row", "name the id of a harmful row as twin"
            )
        elif harmful[row["twin"]]["category"] != row["category"]:
            yield Finding(where, f"is of another category than its twin {row['twin']}", "give both the same")


def prompts(pairs: Sequence[Placed], held_out: Sequence[Placed]) -> list[Said]:
    """Every prompt with its owner."""
    return [Said(where, row["id"], row["prompt"]) for where, row in pairs] + [
        Said(where, str(row.get("twin", row["id"])), row["prompt"]) for where, row in held_out
    ]


def learned(warmup: Sequence[Placed], said: Sequence[Said]) -> Iterator[Finding]:
    """Prompts of pairs and of what is held out that a tiny model would be warmed up on."""
    known = {row["prompt"]: where for where, row in warmup}
    for one in said:
        if one.prompt in known:
            yield Finding(one.where, f"the prompt stands in {known[one.prompt]}", "remove it there")


def alike(said: Sequence[Said], length: int) -> Iterator[Finding]:
    """Pairs of prompts that share a run of `length` characters, white space counted once; in linear time.

    Equal prompts are not among them: those are repeated already.
    """
    first: dict[str, Said] = {}
    seen: set[str] = set()
    for one in said:
        if one.prompt in seen:
            continue
        seen.add(one.prompt)
        shared: dict[str, tuple[Said, str]] = {}
        spaced = " ".join(one.prompt.split())
        for start in range(len(spaced) - length + 1):
            run = spaced[start : start + length]
            other = first.setdefault(run, one)
            if other.owner != one.owner:
                shared.setdefault(other.where, (other, run))
        for other, run in shared.values():
            yield Finding(
                one.where,
                f"the prompt shares {run!r} with {other.where}",
                "put one of the two prompts into other words",
            )


def _one_of(known: Iterable[str]) -> str:
    return f"use one of {', '.join(known)}"
