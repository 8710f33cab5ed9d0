"""Sharing a number out over the taxonomy: even over domains, then categories, then types."""

from collections.abc import Mapping, Sequence

from kalign.packs.taxonomy import Taxonomy


def even(total: int, names: Sequence[str]) -> dict[str, int]:
    """`total` in shares that differ by one at most; the first ones get the rest.

    >>> even(7, ["a", "b", "c"])
    {'a': 3, 'b': 2, 'c': 2}
    """
    share, rest = divmod(total, len(names))
    return {name: share + (place < rest) for place, name in enumerate(names)}


def filled(total: int, available: Mapping[str, int]) -> dict[str, int]:
    """As even shares of `total` as what is available allows: what one lacks, the others give.

    >>> filled(9, {"a": 1, "b": 9, "c": 9})
    {'a': 1, 'b': 4, 'c': 4}
    """
    taken = dict.fromkeys(available, 0)
    left = min(total, sum(available.values()))
    while left:
        open_ones = [name for name in available if taken[name] < available[name]]
        for name, share in even(left, open_ones).items():
            given = min(share, available[name] - taken[name])
            taken[name] += given
            left -= given
    return taken


def planned(total: int, taxonomy: Taxonomy) -> dict[str, int]:
    """How many of `total` each type gets, even at every level."""
    plan: dict[str, int] = {}
    for domain, share in even(total, [one.id for one in taxonomy.domains]).items():
        categories = [one.id for one in taxonomy.categories if one.parent == domain]
        for category, part in even(share, categories).items():
            plan |= even(part, [one.id for one in taxonomy.leaves(category)])
    return {one.id: plan[one.id] for one in taxonomy.types}


def balanced(total: int, available: Mapping[str, int], taxonomy: Taxonomy) -> dict[str, int]:
    """How many rows of each type a set of `total` takes.

    Domains get equal shares, and what one lacks stays missing; inside a domain, categories and then types
    share as evenly as what is available allows.
    """
    taken: dict[str, int] = {}
    for domain, share in even(total, [one.id for one in taxonomy.domains]).items():
        categories = [one.id for one in taxonomy.categories if one.parent == domain]
        of = {
            category: {one.id: available.get(one.id, 0) for one in taxonomy.leaves(category)}
            for category in categories
        }
        there = {category: sum(types.values()) for category, types in of.items()}
        for category, part in filled(share, there).items():
            taken |= filled(part, of[category])
    return taken
