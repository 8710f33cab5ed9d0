"""Triplets: what the panel kept, without likes, balanced over the taxonomy, with each text's provenance."""

import json
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from kalign import files
from kalign.packs.taxonomy import Taxonomy
from kalign.records import Judged, Message, Origin, Triplet, UnusableTriplet
from kalign.synthesis.allocation import balanced, planned
from kalign.synthesis.likeness import Likeness
from kalign.synthesis.rows import numbered, pick
from kalign.synthesis.tally import EXAMPLES, Rows

NAMES = (
    *("id", "domain", "category", "type", "prompt", "chosen", "rejected", "strategy", "target"),
    "provenance",
)
SURPLUS = "surplus"
ROWS_A_GROUP = 1000  # of the parquet file; what is held at a time


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which rows of the judged file are the data set, what was dropped on the way to it, what is missing."""

    source: Path
    lines: Sequence[int]  # of the source, in the order of the rows' ids
    late: Rows  # what the panel kept, with those dropped that are not in the data set
    wanted: Mapping[str, int]  # by type
    taken: Mapping[str, int]  # by type

    def __len__(self) -> int:
        return len(self.lines)

    def rows(self, taxonomy: Taxonomy) -> Iterator[dict[str, Any]]:
        """Yield the rows of the data set; only one of them is held."""
        return (_row(one, taxonomy) for one in pick(self.source, Judged, self.lines))

    def short(self, taxonomy: Taxonomy) -> dict[str, int]:
        """How many rows each domain lacks."""
        lacking = dict.fromkeys((one.id for one in taxonomy.domains), 0)
        for kind, wanted in self.wanted.items():
            lacking[taxonomy.stratum(kind)] += wanted - self.taken.get(kind, 0)
        return {domain: max(0, count) for domain, count in lacking.items()}

    def by_category(self, taxonomy: Taxonomy) -> Counter[str]:
        """How many rows each category has."""
        return _by_category(self.taken, taxonomy)

    def wanted_by_category(self, taxonomy: Taxonomy) -> Counter[str]:
        """How many rows each category should have."""
        return _by_category(self.wanted, taxonomy)


def select(
    source: Path,
    taxonomy: Taxonomy,
    *,
    size: int,
    likeness: Likeness,
    refused: Collection[str] = (),
    fault: Callable[[Judged], str] = lambda one: "",
) -> Selection:
    """The data set of at most `size` rows; of each row its id and its line are held, and no text.

    Args:
        source: what the panel judged.
        fault: why a row that was kept may not be trained on; empty if it may.
        likeness: an index that knows what is held out; of two prompts that are alike, the first one stays.
        refused: ids that people refused.
    """
    late = Rows()
    usable: dict[str, list[tuple[str, int]]] = {}
    for number, one in numbered(source, Judged):
        if one.dropped:
            continue
        prompt = one.response.attack.prompt
        reason = _fault(one, refused) or fault(one) or likeness.fault(prompt)
        late.add(replace(one, dropped=reason))
        if not reason:
            likeness.take(prompt)
            usable.setdefault(one.response.attack.type, []).append((one.id, number))
    taken = balanced(size, {kind: len(of) for kind, of in usable.items()}, taxonomy)
    surplus = sorted(line for kind, of in usable.items() for _, line in of[taken[kind] :])
    if surplus:
        late.dropped[SURPLUS] = len(surplus)
        late.examples[SURPLUS] = list(pick(source, Judged, surplus[:EXAMPLES]))
    chosen = sorted(one for kind, of in usable.items() for one in of[: taken[kind]])
    return Selection(
        source=source,
        lines=array("Q", [line for _, line in chosen]),
        late=late,
        wanted=planned(size, taxonomy),
        taken=taken,
    )


def more(selection: Selection, surplus: float) -> dict[str, int]:
    """How many seeds of each type another wave should draw for what is missing."""
    lacking = {kind: wanted - selection.taken.get(kind, 0) for kind, wanted in selection.wanted.items()}
    return {kind: -int(-count * surplus // 1) for kind, count in lacking.items() if count > 0}


def write(folder: Path, selection: Selection, taxonomy: Taxonomy) -> None:
    """Write triplets.jsonl and triplets.parquet, row by row."""
    files.write_jsonl(folder / "triplets.jsonl", selection.rows(taxonomy))
    fields = pyarrow.schema([(name, pyarrow.string()) for name in NAMES])
    flat = (
        {**row, "provenance": json.dumps(row["provenance"], ensure_ascii=False, sort_keys=True)}
        for row in selection.rows(taxonomy)
    )
    with (
        files.atomic(folder / "triplets.parquet") as partial,
        pyarrow.parquet.ParquetWriter(partial, fields) as writer,
    ):
        while some := list(islice(flat, ROWS_A_GROUP)):
            writer.write_table(pyarrow.Table.from_pylist(some, schema=fields))


def _by_category(types: Mapping[str, int], taxonomy: Taxonomy) -> Counter[str]:
    counts: Counter[str] = Counter()
    for kind, count in types.items():
        counts[taxonomy.by_id[kind].parent or kind] += count
    return counts


def _fault(one: Judged, refused: Collection[str]) -> str:
    """Why a row that the panel kept cannot be in the data set; empty if it can."""
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
