"""Triplets: what the panel kept, without likes, balanced over the taxonomy, with each text's provenance."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kalign import files
from kalign.packs.taxonomy import Taxonomy
from kalign.records import Judged, Message, Origin, Triplet, UnusableTriplet
from kalign.synthesis.allocation import balanced, planned
from kalign.synthesis.likeness import Likeness

NAMES = "id domain category type prompt chosen rejected strategy target provenance"
COLUMNS = dict.fromkeys(NAMES.split(), "string")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The rows of the data set, what was dropped on the way to it, and what is missing."""

    rows: tuple[Mapping[str, Any], ...]
    dropped: Mapping[str, str]  # the reason, by id
    wanted: Mapping[str, int]  # by type
    taken: Mapping[str, int]  # by type

    def short(self, taxonomy: Taxonomy) -> dict[str, int]:
        """How many rows each domain lacks."""
        lacking = dict.fromkeys((one.id for one in taxonomy.domains), 0)
        for kind, wanted in self.wanted.items():
            lacking[taxonomy.stratum(kind)] += wanted - self.taken.get(kind, 0)
        return {domain: max(0, count) for domain, count in lacking.items()}


def select(
    judged: Sequence[Judged],
    taxonomy: Taxonomy,
    *,
    size: int,
    likeness: Likeness,
    refused: Collection[str] = (),
    fault: Callable[[Judged], str] = lambda one: "",
) -> Selection:
    """The data set of at most `size` rows.

    Args:
        fault: why a row that was kept may not be trained on; empty if it may.
        likeness: an index that knows what is held out; of two prompts that are alike, the first one stays.
        refused: ids that people refused.
    """
    dropped: dict[str, str] = {}
    usable: dict[str, list[Judged]] = {}
    for one in judged:
        if reason := _fault(one, refused) or fault(one) or likeness.fault(_prompt(one)):
            dropped[one.id] = reason
            continue
        likeness.take(one.id, _prompt(one))
        usable.setdefault(one.response.attack.type, []).append(one)
    taken = balanced(size, {kind: len(of) for kind, of in usable.items()}, taxonomy)
    chosen = {one.id for kind, of in usable.items() for one in of[: taken[kind]]}
    dropped |= {one.id: "surplus" for of in usable.values() for one in of if one.id not in chosen}
    rows = [_row(one, taxonomy) for one in judged if one.id in chosen]
    return Selection(
        rows=tuple(sorted(rows, key=lambda row: str(row["id"]))),
        dropped=dropped,
        wanted=planned(size, taxonomy),
        taken=taken,
    )


def more(selection: Selection, surplus: float) -> dict[str, int]:
    """How many seeds of each type another wave should draw for what is missing."""
    lacking = {kind: wanted - selection.taken.get(kind, 0) for kind, wanted in selection.wanted.items()}
    return {kind: -int(-count * surplus // 1) for kind, count in lacking.items() if count > 0}


def write(folder: Path, selection: Selection) -> None:
    """Write triplets.jsonl and triplets.parquet."""
    files.write_jsonl(folder / "triplets.jsonl", selection.rows)
    flat = [
        {**row, "provenance": json.dumps(row["provenance"], ensure_ascii=False, sort_keys=True)}
        for row in selection.rows
    ]
    files.write_parquet(folder / "triplets.parquet", flat, COLUMNS)


def _prompt(one: Judged) -> str:
    return one.response.attack.prompt


def _fault(one: Judged, refused: Collection[str]) -> str:
    if one.dropped:
        return one.dropped
    if one.id in refused:
        return "people"
    attack = one.response.attack
    try:
        Triplet(
            id=one.id,
            prompt=(Message(role="user", content=attack.prompt),),
            chosen=(Message(role="assistant", content=one.response.chosen),),
            rejected=(Message(role="assistant", content=attack.answer),),
        )
    except UnusableTriplet as wrong:
        return wrong.reason
    return ""


def _row(one: Judged, taxonomy: Taxonomy) -> dict[str, Any]:
    response, attack = one.response, one.response.attack
    winner = response.candidates[response.winner] if response.winner is not None else None
    origins: dict[str, Origin | None] = {
        "seed": attack.seed_origin,
        "prompt": attack.prompt_origin,
        "rejected": attack.answer_origin,
        "chosen": winner.origin if winner else None,
    }
    provenance = {
        **{name: asdict(origin) if origin else None for name, origin in origins.items()},
        "scores": {
            "harm": attack.score,
            "query": response.query,
            "safety": winner.safety if winner else None,
            "coherence": winner.coherence if winner else None,
        },
        "tries": len(attack.tries),
        "votes": [
            {"judge": vote.judge, "kind": vote.kind.value, **vote.verdicts, "key": vote.key}
            for vote in one.votes
        ],
        "decisions": dict(one.decisions),
        "masked": sorted({*attack.masked, *(winner.masked if winner else ())}),
    }
    return {
        "id": one.id,
        "domain": taxonomy.stratum(attack.type),
        "category": attack.category,
        "type": attack.type,
        "prompt": attack.prompt,
        "chosen": response.chosen,
        "rejected": attack.answer,
        "strategy": attack.strategy,
        "target": attack.target,
        "provenance": provenance,
    }
