"""The taxonomy is a tree of three levels, whatever is written."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalign.errors import DataError
from kalign.packs import taxonomy
from kalign.packs.taxonomy import Node, Taxonomy


def node(name: str, parent: str | None = None, definition: str | None = "said") -> Node:
    return Node(id=name, parent=parent, name={"en": name}, definition=definition, slots=())


TREE = (
    node("one"),
    node("two"),
    node("A", "one"),
    node("B", "two"),
    node("C", "two"),
    *(node(name, name[0]) for name in ("A.x", "A.y", "B.x", "C.x", "C.y")),
)


def names(nodes: tuple[Node, ...]) -> list[str]:
    return [one.id for one in nodes]


def test_nodes_are_domains_categories_and_types() -> None:
    tree = Taxonomy(TREE)
    assert names(tree.domains) == ["one", "two"]
    assert names(tree.categories) == ["A", "B", "C"]
    assert names(tree.types) == ["A.x", "A.y", "B.x", "C.x", "C.y"]


def test_every_node_belongs_to_one_domain() -> None:
    tree = Taxonomy(TREE)
    assert [tree.stratum(name) for name in ("one", "A", "A.y", "C.x")] == ["one", "one", "one", "two"]
    with pytest.raises(KeyError):
        tree.stratum("Z")


def test_the_leaves_of_the_domains_are_all_types_once() -> None:
    tree = Taxonomy(TREE)
    assert names(tree.leaves("two")) == ["B.x", "C.x", "C.y"]
    assert names(tree.leaves("A")) == ["A.x", "A.y"]
    assert names(tree.leaves("A.x")) == ["A.x"]
    assert sum((tree.leaves(domain.id) for domain in tree.domains), ()) == tree.types


def test_what_is_no_tree_is_refused() -> None:
    with pytest.raises(DataError, match="its parent Z is no node"):
        Taxonomy((*TREE, node("Z.x", "Z")))


def test_a_node_that_is_its_own_parent_is_a_circle() -> None:
    [found] = taxonomy.faults([*TREE, node("loop", "loop")])
    assert "circle (loop > loop)" in found.what


def test_a_chain_of_any_length_is_measured_without_recursion() -> None:
    chain = [node("0"), *(node(str(child), str(parent)) for parent, child in pairwise(range(30_000)))]
    assert max(taxonomy.levels(chain).values()) == 29_999
    assert len(list(taxonomy.faults(chain))) == 29_997 + 1  # all below the type, and the type's id


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.none() | st.integers(0, 8)), max_size=12))
def test_nodes_either_make_a_tree_or_have_findings(drawn: list[tuple[int, int | None]]) -> None:
    nodes = tuple(node(str(one), None if parent is None else str(parent)) for one, parent in drawn)
    if list(taxonomy.faults(nodes)):
        with pytest.raises(DataError):
            Taxonomy(nodes)
    else:
        tree = Taxonomy(nodes)
        assert all(tree.stratum(one.id) in names(tree.domains) for one in nodes)
