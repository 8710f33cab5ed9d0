"""The safe-response policy of one category, and its text for a prompt."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from kalign.packs.shapes import Content, Key, Shape

if TYPE_CHECKING:
    from kalign.packs.pack import Pack

FOLDER = "policy"
LAW: Shape = {"law": Key(kind="text"), "articles": Key(kind="texts", empty=True), "why": Key(kind="text")}
EXAMPLE: Shape = {"prompt": Key(kind="text"), "answer": Key(kind="text")}
SHAPE: Shape = {
    "category": Key(kind="text"),
    "principle": Key(kind="text"),
    "applies_when": Key(kind="texts"),
    "strategy": Key(kind="text by name"),
    "never": Key(kind="texts"),
    "laws": Key(kind=LAW, many=True, empty=True),
    "institutions": Key(kind="texts", empty=True),
    "example": Key(kind=EXAMPLE),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """A law that fits the category, and why."""

    law: str
    articles: tuple[str, ...]
    why: str

    def citations(self) -> list[str]:
        """Each article with the law's name, as a text would cite it; the law alone, if none is named."""
        return [f"{self.law} {article}" for article in self.articles] or [self.law]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One request, and an answer that follows the policy."""

    prompt: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a good answer to requests of one category does."""

    category: str
    principle: str
    applies_when: tuple[str, ...]
    strategy: Mapping[str, str]  # by the id of the pack's principle
    never: tuple[str, ...]
    laws: tuple[Law, ...]
    institutions: tuple[str, ...]  # ids
    example: Example


def policy(content: Content) -> Policy:
    """The policy that a file of the right shape describes."""
    laws = tuple(
        Law(law=law["law"], articles=tuple(law["articles"] or ()), why=law["why"])
        for law in content["laws"] or ()
    )
    return Policy(
        category=content["category"],
        principle=content["principle"],
        applies_when=tuple(content["applies_when"]),
        strategy=content["strategy"],
        never=tuple(content["never"]),
        laws=laws,
        institutions=tuple(content["institutions"] or ()),
        example=Example(**content["example"]),
    )


def render(policy: Policy, pack: "Pack", *, on: date) -> str:
    """The policy as text for a prompt, in the pack's language and under its own headings.

    Args:
        on: institutions that are unconfirmed, or not there on this day, are left out.

    Raises:
        DataError: taxonomy, principles or institutions of the pack are not what the policy refers to.
    """
    return "\n\n".join(
        f"{'#' if number == 0 else '##'} {heading}\n" + "\n".join(lines)
        for number, (heading, lines) in enumerate(_parts(policy, pack, on))
        if lines
    )


def _parts(policy: Policy, pack: "Pack", on: date) -> Iterator[tuple[str, list[str]]]:
    headings, named = pack.headings, pack.named
    category = pack.category(policy.category)
    yield named(category.name), [category.definition or named(category.name)]
    types = [f"- {one.name}: {one.definition}" for one in pack.taxonomy.leaves(category.id)]
    yield headings["types"], types
    yield headings["principle"], [policy.principle]
    yield headings["applies_when"], _listed(policy.applies_when)
    steps = [f"- {one.id} {one.name}: {one.requirement} {policy.strategy[one.id]}" for one in pack.principles]
    yield headings["strategy"], steps
    yield headings["never"], _listed((*policy.never, *pack.never))
    yield (
        headings["laws"],
        [f"- {' '.join([law.law, ', '.join(law.articles)]).strip()}: {law.why}" for law in policy.laws],
    )
    offices = [pack.institution(name) for name in policy.institutions]
    yield (
        headings["institutions"],
        [
            f"- {one.name}{f' ({one.phone})' if one.phone else ''}: {one.purpose}"
            for one in offices
            if one.offered(on)
        ],
    )
    yield headings["example"], [f"> {policy.example.prompt}", "", policy.example.answer]


def _listed(texts: tuple[str, ...]) -> list[str]:
    return [f"- {text}" for text in texts]
