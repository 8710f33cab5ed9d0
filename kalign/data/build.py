"""From sources to tokenised pairs: mapped, checked, deduplicated, measured, weighed, and split by prompt."""

import dataclasses
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from tqdm import tqdm

from kalign.config import Data, Model, Source
from kalign.data import layouts, ledger, provenance, sources
from kalign.data.ledger import Line, Summary
from kalign.data.marked import Marked
from kalign.data.pairs import Pair as Pair
from kalign.data.pairs import Tokenises
from kalign.errors import DataError
from kalign.records import Triplet, UnusableTriplet, text

REMEDIES = {
    "too_long": "raise data.max_length, or say data.on_overflow=truncate",
    "identical": "remove pairs whose two answers are the same",
    "empty_chosen": "fill in or remove the empty answers",
    "empty_rejected": "fill in or remove the empty answers",
    "empty_prompt": "fill in or remove the empty prompts",
    "contradiction": "decide which of two answers is better where the file says both",
    "boundary_merge": "remove white space from the beginning of answers",
    "control_tokens": "remove control tokens from the texts, or say data.control_tokens=literal",
    "too_long_with_markers": "raise data.max_length, or name fewer data.markers.dimensions",
    "template_refuses": "bring the turns into an order that the model's template accepts",
    "identical_after_truncation": "raise data.max_length",
}

# Where other layouts keep parts of the prompt; a turn of the prompt's messages is where they belong
BESIDE = ("system", "history", "input", "tools", "images")


@dataclass(kw_only=True)
class Pairs:
    """All pairs, and the account of every row."""

    train: list[Pair]
    held_out: list[Pair]
    lines: list[Line]
    summary: Summary
    identity: dict[str, Any]  # what the run notes of its data


def build(data: Data, chat: Tokenises, *, letters: re.Pattern[str], model: Model | None = None) -> Pairs:
    """Read, check, tokenise and split all sources of a recipe.

    Args:
        letters: matches one letter of the language that the answers should be in.
        model: what is trained; None: a model of unknown licence.

    Raises:
        ConfigError: a source's path names nothing, or its rows may not train this model.
        DataError: a row is malformed, or the pairs cannot be split.
    """
    lines: list[Line] = []
    counted: Counter[str] = Counter()  # what two sources both hold adds up
    identity: dict[str, Any] = {}
    pairs: list[tuple[Line, Pair]] = []
    marked = Marked.read(data, chat)
    seen: dict[tuple[str, str, str], Line] = {}
    for name, source in data.sources().items():
        read = sources.read(source)
        mined = provenance.targets(source, read)
        provenance.refuse_forbidden(mined, read.where, model or Model(), data.accept_licence_of)
        identity[name] = {"path": read.where, "sha256": read.sha256, "rows": len(read.rows)}
        counted.update(read.facts)
        counted.update(_unread(source, read))
        counted.update({f"mined from {target}": count for target, count in sorted(mined.items())})
        for line, triplet in _triplets(name, source, read, letters):
            lines.append(line)
            if triplet is None or not _is_new(line, triplet, seen):
                continue
            pair = _tokenised(line, triplet, data, chat)
            if pair is not None and (marked is None or marked.fits(line, pair)):
                line.copies = _copies(source.weight, line.id, data.seed)
                line.reason = line.reason if line.copies else "weight"
                pairs.append((line, pair))
    held_out = _held_out(
        {line.family for line, _ in pairs if line.copies and line.reason != "contradiction"}, data
    )
    train: list[tuple[Line, Pair]] = []
    evaluated: list[Pair] = []
    for line, pair in pairs:
        if line.reason == "contradiction" or not line.copies:
            line.copies = 0
        elif line.family in held_out:
            line.action, line.copies = "eval", 1
            evaluated.append(marked.held_out(pair) if marked else pair)
        else:
            line.action = "train"
            train.append((line, pair))
    if marked:
        marked.select(train)
        identity["data.tags"] = marked.identity()
    seen_in_training = [each for line, pair in train for each in _seen(line, pair, marked)]
    facts = dict(counted)
    if marked:
        facts |= marked.facts(train, seen_in_training)
    account = ledger.summary(lines, facts)
    return Pairs(train=seen_in_training, held_out=evaluated, lines=lines, summary=account, identity=identity)


def _unread(source: Source, read: sources.Rows) -> dict[str, int]:
    """How many rows say something beside prompt and answers that no training would see."""
    named = dataclasses.asdict(source.columns).values()
    counts = {
        column: sum(bool(row.content.get(column)) for row in read.rows)
        for column in BESIDE
        if column not in named
    }
    return {f"rows whose {column!r} is not read": count for column, count in counts.items() if count}


def _seen(line: Line, pair: Pair, marked: Marked | None) -> list[Pair]:
    """The copies of a pair, as they are trained on."""
    return marked.train(line, pair) if marked else [pair] * line.copies


def require_acceptable(pairs: Pairs, data: Data) -> None:
    """Refuse to train on what is left when too much was dropped, or nothing is left.

    Raises:
        DataError: more than `data.max_drop_share` was dropped, or there is nothing to train on or hold out.
    """
    account = pairs.summary
    lost = {reason: count for reason, count in account.dropped.items() if reason not in ledger.EXEMPT}
    if account.drop_share > data.max_drop_share:
        worst = max(lost, key=lambda reason: lost[reason])
        spelled = ", ".join(f"{count} {reason}" for reason, count in lost.items())
        raise DataError(
            f"{account.drop_share:.1%} of the pairs were dropped ({spelled}), more than data.max_drop_share="
            f"{data.max_drop_share:g}; {REMEDIES.get(worst, 'look at ledger.parquet')}, or raise "
            "data.max_drop_share"
        )
    if pairs.held_out and not pairs.train:
        raise DataError(
            f"all {len(pairs.held_out)} pairs are held out by data.eval_share={data.eval_share:g}, and none "
            "is left to train on; lower it, or use more prompts"
        )
    if not pairs.train:
        raise DataError("no pair is left to train on; the ledger says what became of each row")
    if data.eval_share and not pairs.held_out:
        raise DataError(
            "no pair is left to hold out; use more than one prompt, or data.eval_share=0 "
            "trainer.eval_strategy=no"
        )


def _triplets(
    name: str, source: Source, read: sources.Rows, letters: re.Pattern[str]
) -> Iterator[tuple[Line, Triplet | None]]:
    for row in tqdm(read.rows, desc=f"reading {read.where}", unit="row", leave=False):
        identity = str(row.content.get("id") or f"{name}:{row.number}")
        line = Line(source=name, row=row.number, id=identity)
        triplet = None
        if row.unused:
            line.reason = row.unused
        else:
            try:
                triplet = layouts.triplet(row.content, source.columns, identity)
                line.family = _family(row.content, source, triplet)
                ledger.describe(line, triplet, letters)
            except UnusableTriplet as wrong:
                line.reason, line.detail = wrong.reason, str(wrong)
            except ValueError as wrong:
                raise DataError(f"{read.where}:{row.number}: {wrong}") from wrong
        yield line, triplet


def _family(row: dict[str, Any], source: Source, triplet: Triplet) -> str:
    """What keeps rows together in the split: a declared column, or the prompt's words without case, spaces
    and marks."""
    if source.columns.family is not None:
        if source.columns.family not in row:
            raise ValueError(f"there is no column {source.columns.family!r}; mend data.columns.family")
        return str(row[source.columns.family])
    words = unicodedata.normalize("NFKC", text(triplet.prompt)).casefold()
    letters = "".join(letter for letter in words if letter.isalnum())
    return sha256((letters or words).encode()).hexdigest()[:16]


def _is_new(line: Line, triplet: Triplet, seen: dict[tuple[str, str, str], Line]) -> bool:
    """Note an exact duplicate; of two rows that say the opposite, drop both."""
    prompt, chosen, rejected = text(triplet.prompt), text(triplet.chosen), text(triplet.rejected)
    first = seen.setdefault((prompt, chosen, rejected), line)
    if first is not line:
        line.reason, line.detail = "exact_duplicate", f"of {first.id}"
        return False
    opposite = seen.get((prompt, rejected, chosen))
    if opposite is not None:
        for one, other in ((line, opposite), (opposite, line)):
            one.reason, one.detail, one.suspect = "contradiction", f"{other.id} says the opposite", "swapped"
        return False
    return True


def _tokenised(line: Line, triplet: Triplet, data: Data, chat: Tokenises) -> Pair | None:
    try:
        tokens = chat.tokens(triplet)
    except UnusableTriplet as wrong:
        line.reason, line.detail = wrong.reason, str(wrong)
        return None
    line.prompt_tokens, line.chosen_tokens, line.rejected_tokens = map(
        len, (tokens.prompt, tokens.chosen, tokens.rejected)
    )
    if not triplet.rejected:
        line.rejected_tokens = None
    line.control_tokens = tokens.control_tokens
    if tokens.control_tokens and data.control_tokens == "drop":
        line.reason = "control_tokens"
        return None
    room = data.max_length - len(tokens.prompt)
    line.chosen_truncated, line.rejected_truncated = len(tokens.chosen) > room, len(tokens.rejected) > room
    chosen, rejected = tokens.chosen, tokens.rejected
    if line.chosen_truncated or line.rejected_truncated:
        if data.on_overflow == "drop" or room <= 0:
            line.reason, line.chosen_truncated, line.rejected_truncated = "too_long", False, False
            return None
        line.reason = "truncated"
        chosen, rejected = chosen[:room], rejected[:room]
        if chosen == rejected:
            line.reason = "identical_after_truncation"
            return None
    return Pair(triplet=triplet, prompt_ids=tokens.prompt, chosen_ids=chosen, rejected_ids=rejected)


def _copies(weight: float, identity: str, seed: int) -> int:
    """How often a pair is seen in an epoch: `weight` on average, each fraction decided by the pair's own
    hash."""
    whole = math.floor(weight)
    draw = int.from_bytes(sha256(f"{seed}:{identity}".encode()).digest()[:8]) / 2**64
    return whole + (draw < weight - whole)


def _held_out(families: Sequence[str] | set[str], data: Data) -> set[str]:
    """The families that are held out: decided by their own hashes, so more data moves no family across."""
    if not data.eval_share or len(families) < 2:
        return set()
    ordered = sorted(families, key=lambda family: sha256(f"{data.seed}:{family}".encode()).digest())
    return set(ordered[: max(1, round(len(ordered) * data.eval_share))])
