"""What a training did to a model's survey answers: how far they moved from one culture towards another."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from kalign.associations import distances
from kalign.associations.survey import Item
from kalign.errors import DataError
from kalign.statistics import mcnemar, mean_interval, paired_difference

Answers = Sequence[tuple[float, ...]]


def both(items: Sequence[Item], source: str, target: str) -> list[Item]:
    """The items that both countries answered.

    Raises:
        DataError: there are none.
    """
    shared = [item for item in items if {source, target} <= set(item.shares)]
    if not shared:
        known = ", ".join(sorted({country for item in items for country in item.shares})[:12])
        raise DataError(f"no item has answers of both {source} and {target}; the file knows {known}")
    return shared


def tension(
    items: Sequence[Item], source: str, target: str, *, top: int = 50, compat: bool = False
) -> list[Item]:
    """The items on which two countries differ most, the widest difference first."""
    return sorted(
        items,
        key=lambda item: (
            -distances.combo(item.shares[source], item.shares[target], ordinal=item.ordinal, compat=compat)
        ),
    )[:top]


def position(items: Sequence[Item], answers: Answers, source: str, target: str) -> dict[str, Any]:
    """Where one model's answers lie: means over items, each with its 95 % interval."""
    numbers = {
        "js_similarity_source": [
            1 - distances.js_distance(given, item.shares[source])
            for item, given in zip(items, answers, strict=True)
        ],
        "js_similarity_target": [
            1 - distances.js_distance(given, item.shares[target])
            for item, given in zip(items, answers, strict=True)
        ],
        "emd_target": [
            distances.emd(given, item.shares[target])
            for item, given in zip(items, answers, strict=True)
            if item.ordinal
        ],
        "axis": [
            place
            for item, given in zip(items, answers, strict=True)
            if (place := distances.axis(given, item.shares[source], item.shares[target])) is not None
        ],
    }
    return {
        name: asdict(mean_interval(values)) | {"items": len(values)}
        for name, values in numbers.items()
        if values
    }


def closer(
    items: Sequence[Item], answers: Answers, source: str, target: str, *, compat: bool = False
) -> list[int]:
    """For each item 1 where the answers lie closer to the target, -1 closer to the source, 0 for a tie."""
    signs = []
    for item, given in zip(items, answers, strict=True):
        to_source, to_target = (
            distances.combo(given, item.shares[country], ordinal=item.ordinal, compat=compat)
            for country in (source, target)
        )
        signs.append((to_source > to_target) - (to_source < to_target))
    return signs


def compared(
    items: Sequence[Item],
    base: Answers,
    tuned: Answers,
    source: str,
    target: str,
    *,
    top: int = 50,
    compat: bool = False,
) -> dict[str, Any]:
    """Base against tuned: the shift towards the target with a paired bootstrap over items, and the items of
    high tension with an exact McNemar test."""
    far = [
        [
            distances.combo(given, item.shares[target], ordinal=item.ordinal, compat=compat)
            for item, given in zip(items, answers, strict=True)
        ]
        for answers in (base, tuned)
    ]
    moved = paired_difference(far[1], far[0])  # how much nearer: base less tuned
    chosen = [item.id for item in tension(items, source, target, top=top, compat=compat)]
    places = [place for place, item in enumerate(items) if item.id in set(chosen)]
    some = [items[place] for place in places]
    before = closer(some, [base[place] for place in places], source, target, compat=compat)
    after = closer(some, [tuned[place] for place in places], source, target, compat=compat)
    gained = sum(old != 1 and new == 1 for old, new in zip(before, after, strict=True))
    lost = sum(old == 1 and new != 1 for old, new in zip(before, after, strict=True))
    return {
        "compat": compat,
        "items": len(items),
        "base": position(items, base, source, target),
        "tuned": position(items, tuned, source, target),
        "shift": asdict(moved),
        "tension": {
            "items": len(places),
            "ids": chosen,
            "closer_to_target": {"base": before.count(1), "tuned": after.count(1)},
            "ties": {"base": before.count(0), "tuned": after.count(0)},
            "p_value": mcnemar(gained, lost),
        },
    }
