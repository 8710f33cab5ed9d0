"""The harm taxonomy of a pack: domains, their categories, and the types that are its leaves."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kalign.errors import DataError
from kalign.packs.shapes import Content, Finding, Key, Shape

FILE = "taxonomy.yaml"
DOMAIN, CATEGORY, TYPE = range(3)  # levels below the root
ID = re.compile(r"\w[\w.-]*")
LEVELS = ("domain", "category", "type")
SLOT: Shape = {
    "id": Key(kind="text"),
    "name": Key(kind="names"),
    "required": Key(kind="flag"),
}
NODE: Shape = {
    "id": Key(kind="text"),
    "parent": Key(kind="text", required=False),
    "name": Key(kind="names"),
    "definition": Key(kind="text", required=False),
    "slots": Key(kind=SLOT, many=True, required=False),
}
SHAPE: Shape = {"nodes": Key(kind=NODE, many=True)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A blank in the seeds of a node."""

    id: str
    name: Mapping[str, str]  # by language
    required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One domain, category or type."""

    id: str
    parent: str | None
    name: Mapping[str, str]  # by language
    definition: str | None
    slots: tuple[Slot, ...]


@dataclass(frozen=True)
class Taxonomy:
    """All nodes, in the file's order.

    Raises:
        DataError: they are no tree of domains, categories and types.
    """

    nodes: tuple[Node, ...]
    by_id: Mapping[str, Node] = field(init=False, repr=False, compare=False)
    levels: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if found := list(faults(self.nodes)):
            raise DataError(str(found[0]))
        object.__setattr__(self, "by_id", {one.id: one for one in self.nodes})
        object.__setattr__(self, "levels", levels(self.nodes))

    @property
    def domains(self) -> tuple[Node, ...]:
        """The roots: the strata by which a data set is balanced."""
        return self._at(DOMAIN)

    @property
    def categories(self) -> tuple[Node, ...]:
        """What has a policy each."""
        return self._at(CATEGORY)

    @property
    def types(self) -> tuple[Node, ...]:
        """The leaves."""
        return self._at(TYPE)

    def leaves(self, under: str) -> tuple[Node, ...]:
        """The types under a domain or category; of a type, itself.

        Raises:
            KeyError: there is no such node.
        """
        node = self.by_id[under]
        if self.levels[under] == TYPE:
            return (node,)
        return tuple(one for one in self.types if under in (one.parent, self.by_id[one.parent or ""].parent))

    def stratum(self, node: str) -> str:
        """The id of the domain that a node belongs to.

        Raises:
            KeyError: there is no such node.
        """
        parent = self.by_id[node].parent
        return node if parent is None else self.stratum(parent)

    def _at(self, level: int) -> tuple[Node, ...]:
        return tuple(one for one in self.nodes if self.levels[one.id] == level)


def node(content: Content) -> Node:
    """The node that an entry of the right shape describes."""
    slots = tuple(Slot(**slot) for slot in content.get("slots") or ())
    return Node(
        id=content["id"],
        parent=content.get("parent"),
        name=content["name"],
        definition=content.get("definition"),
        slots=slots,
    )


def levels(nodes: Sequence[Node]) -> dict[str, int]:
    """How far below its root each node lies; those under an unknown parent or in a circle have no level."""
    parents = {one.id: one.parent for one in reversed(nodes)}  # the first of two with one id counts
    found: dict[str, int] = {}
    for start in parents:
        path: dict[str, None] = {}
        at: str | None = start
        while at is not None and at not in found and at in parents and at not in path:
            path[at] = None
            at = parents[at]
        if at is not None and at not in found:
            continue
        level = -1 if at is None else found[at]
        for one in reversed(path):
            level += 1
            found[one] = level
    return found


def faults(nodes: Sequence[Node]) -> Iterator[Finding]:
    """Whatever keeps the nodes from being a tree of domains, categories and types, in linear time."""
    for name, count in Counter(one.id for one in nodes).items():
        if count > 1:
            yield Finding(_at(name), f"the id stands {count} times", "give each node an id of its own")
    level = levels(nodes)
    known = {one.id for one in nodes}
    children = Counter(one.parent for one in nodes)
    yield from _circles(nodes, level)
    for one in nodes:
        if one.parent is not None and one.parent not in known:
            yield Finding(
                _at(one.id), f"its parent {one.parent} is no node", "add that node, or name another parent"
            )
    for one in nodes:
        if not ID.fullmatch(one.id):  # it names a file
            yield Finding(_at(one.id), "is no id", "use letters, digits, '.', '_' and '-'")
        if one.id in level:
            yield from _level_faults(one, level[one.id], children[one.id])
        for slot, count in Counter(slot.id for slot in one.slots).items():
            if count > 1:
                yield Finding(_at(one.id), f"slot {slot} stands {count} times", "give each slot its own id")


def _level_faults(one: Node, level: int, children: int) -> Iterator[Finding]:
    if level > TYPE:
        yield Finding(
            _at(one.id),
            f"lies {level} levels below its domain",
            "a domain holds categories, a category holds types, a type holds nothing; hang it higher",
        )
    elif level < TYPE and not children:
        below = LEVELS[level + 1]
        yield Finding(_at(one.id), f"the {LEVELS[level]} has no {below}", f"add a {below}, or remove it")
    elif level == TYPE:
        if not one.id.startswith(f"{one.parent}.") or len(one.id) == len(f"{one.parent}."):
            yield Finding(
                _at(one.id), "a type's id is its category's, a dot, and a name", f"call it {one.parent}.NAME"
            )
        if one.definition is None:
            yield Finding(_at(one.id), "the type has no definition", "say in a sentence what belongs to it")


def _circles(nodes: Sequence[Node], level: Mapping[str, int]) -> Iterator[Finding]:
    parents = {one.id: one.parent for one in reversed(nodes)}
    done: set[str | None] = set()
    for one in nodes:
        path: list[str] = []
        at: str | None = one.id
        while at in parents and at not in level and at not in done:
            done.add(at)
            path.append(str(at))
            at = parents[str(at)]
        if at in path:
            circle = path[path.index(str(at)) :]
            yield Finding(
                _at(circle[0]),
                f"its parents go round in a circle ({' > '.join([*circle, circle[0]])})",
                "let one of them have no parent, or another one",
            )


def _at(name: str) -> str:
    return f"{FILE}: nodes[{name}]"
