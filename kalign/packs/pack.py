"""A culture pack as one object; each of its files is read when it is first asked for."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kalign import files
from kalign.errors import DataError
from kalign.packs import institutions, policy, shapes, taxonomy
from kalign.packs.policy import Policy
from kalign.packs.shapes import Content, Finding, Key, Shape
from kalign.packs.taxonomy import Node, Taxonomy
from kalign.records import Institution

FILE = "pack.yaml"
CACHE = "__pycache__"  # of a package that brings a pack
PRINCIPLE: Shape = {"id": Key(kind="text"), "name": Key(kind="names"), "requirement": Key(kind="text")}
HEADINGS: Shape = {
    name: Key(kind="text")
    for name in (
        "types",
        "principle",
        "applies_when",
        "strategy",
        "never",
        "laws",
        "institutions",
        "example",
    )
}
SHAPE: Shape = {
    "name": Key(kind="text"),
    "language": Key(kind="text"),
    "title": Key(kind="names"),
    "letters": Key(kind="text"),
    "gram_length": Key(kind="count"),
    "principles": Key(kind=PRINCIPLE, many=True),
    "never": Key(kind="texts"),
    "headings": Key(kind=HEADINGS),
}
# language, script, region, variants and private use: the part of BCP 47 that names a pack's language
LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Z][a-z]{3})?(?:-(?:[A-Z]{2}|\d{3}))?(?:-x(?:-[a-z0-9]{1,8})+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Principle:
    """One thing that every policy says how to do."""

    id: str
    name: Mapping[str, str]  # by language
    requirement: str


@dataclass(frozen=True, kw_only=True)
class Pack:
    """What `pack.yaml` says, and the way to the pack's other files."""

    folder: Path
    name: str
    language: str
    title: Mapping[str, str]  # by language
    letters: re.Pattern[str]  # one letter of the language
    gram_length: int  # prompts that share a run of so many characters are too much alike
    principles: tuple[Principle, ...]
    never: tuple[str, ...]
    headings: Mapping[str, str]  # of a rendered policy

    @cached_property
    def sha256(self) -> str:
        """The hash of the pack's files with their names, without what git, editors and Python put beside
        them: a commit or an import is no other pack."""
        digest = hashlib.sha256()
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder)
            if path.is_file() and not any(part.startswith(".") or part == CACHE for part in name.parts):
                digest.update(f"{name.as_posix()}\0{files.sha256(path)}\0".encode())
        return digest.hexdigest()

    @cached_property
    def taxonomy(self) -> Taxonomy:
        """The tree of what is harmful.

        Raises:
            DataError: the file is not what it should be.
        """
        content = shapes.required(self.folder, taxonomy.FILE, taxonomy.SHAPE, language=self.language)
        nodes = tuple(taxonomy.node(entry) for entry in content["nodes"])
        shapes.raise_first(list(taxonomy.faults(nodes)), self.folder)
        return Taxonomy(nodes)

    @cached_property
    def institutions(self) -> Mapping[str, Institution]:
        """Every institution by id, unconfirmed and former ones too.

        Raises:
            DataError: the file is not what it should be.
        """
        content = shapes.required(self.folder, institutions.FILE, institutions.SHAPE, language=self.language)
        return {
            entry["id"]: institutions.institution(entry, self.language) for entry in content["institutions"]
        }

    @cached_property
    def policies(self) -> Mapping[str, Policy]:
        """The policy of every category, by its id.

        Raises:
            DataError: a file is not what it should be, a category has none, or a principle of the pack is
                missing in one.
        """
        names = [f"{policy.FOLDER}/{category.id}.yaml" for category in self.taxonomy.categories]
        read = [
            policy.policy(shapes.required(self.folder, name, policy.SHAPE, language=self.language))
            for name in names
        ]
        for one, name in zip(read, names, strict=True):
            if missing := [principle.id for principle in self.principles if principle.id not in one.strategy]:
                raise DataError(
                    f"{self.folder}/{name}: strategy says nothing of principle {missing[0]}; kalign pack "
                    f"check {self.folder} lists every finding"
                )
        return {one.category: one for one in read}

    def named(self, names: Mapping[str, str]) -> str:
        """A name in the pack's language."""
        return names[self.language]

    def category(self, name: str) -> Node:
        """The category of that id.

        Raises:
            DataError: there is none.
        """
        found = next((one for one in self.taxonomy.categories if one.id == name), None)
        if found is None:
            raise DataError(
                f"{self.folder}: {name} is no category; kalign pack check {self.folder} says more"
            )
        return found

    def institution(self, name: str) -> Institution:
        """The institution of that id.

        Raises:
            DataError: there is none.
        """
        if name not in self.institutions:
            raise DataError(
                f"{self.folder}: {name} is no institution; kalign pack check {self.folder} says more"
            )
        return self.institutions[name]


def load(folder: Path) -> Pack:
    """The pack that lies in a folder.

    Raises:
        DataError: its pack.yaml is missing or not what it should be.
    """
    content = shapes.required(folder, FILE, SHAPE)
    shapes.raise_first(faults(content), folder)
    return Pack(
        folder=folder,
        name=content["name"],
        language=content["language"],
        title=content["title"],
        letters=re.compile(f"[{content['letters']}]"),
        gram_length=content["gram_length"],
        principles=tuple(Principle(**one) for one in content["principles"]),
        never=tuple(content["never"]),
        headings=content["headings"],
    )


def faults(content: Content) -> list[Finding]:
    """What is wrong with the values of a `pack.yaml`; those of another shape are findings already."""
    found = []
    language, letters = content.get("language"), content.get("letters")
    if isinstance(language, str) and not LANGUAGE.fullmatch(language):
        found.append(
            Finding(f"{FILE}: language", f"{language!r} is no language tag", "write one such as en or pt-BR")
        )
    if isinstance(letters, str) and not _is_class(letters):
        found.append(
            Finding(
                f"{FILE}: letters",
                f"{letters!r} is no class of characters",
                "write what stands between [ and ] in a regular expression, such as a-zA-Z",
            )
        )
    principles = shapes.whole(content, "principles", PRINCIPLE, language=str(language))
    names = [one["id"] for one in principles]
    found += [
        Finding(f"{FILE}: principles", f"{name} stands twice", "give each principle an id of its own")
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    return found


def _is_class(letters: str) -> bool:
    if re.search(r"[\[\]\\^]", letters):  # would end the class, or turn it round
        return False
    try:
        re.compile(f"[{letters}]")
    except re.error:
        return False
    return True
