"""Everything that is wrong with a pack, found in one go: shapes, references, coverage, likeness."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from kalign.packs import institutions, pack, policy, privacy, rows, seeds, shapes, start, taxonomy
from kalign.packs.pack import Pack
from kalign.packs.policy import Policy
from kalign.packs.rows import Cites, Said
from kalign.packs.shapes import Finding
from kalign.packs.taxonomy import Node, Taxonomy
from kalign.records import Institution


@dataclass(frozen=True, kw_only=True)
class Report:
    """How much a pack holds, and what is wrong with it, in the order of its files."""

    folder: Path
    counts: Mapping[str, int]
    findings: tuple[Finding, ...]


@dataclass(kw_only=True)
class _Read:
    """What could be read of a pack, however much is wrong with it."""

    folder: Path
    pack: Pack | None = None
    language: str = ""
    nodes: list[Node] = field(default_factory=list)  # of a taxonomy without findings
    types: dict[str, list[str]] = field(default_factory=dict)  # ids of the types of each category
    offices: dict[str, Institution] = field(default_factory=dict)
    policies: list[Policy] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


def check(folder: Path, *, on: date, cites: Cites | None = None, besides: Iterable[Finding] = ()) -> Report:
    """Read every file of a pack and say all that is wrong with it.

    Args:
        on: the day on which the institutions that policies name must be there.
        cites: gives a sentence for each wrong citation in a text; without it, citations are not checked.
        besides: what was found elsewhere, and belongs into the report.
    """
    read, verified = _Read(folder=folder), cites or _unchecked
    findings = [
        *_general(read),
        *_taxonomy(read),
        *_institutions(read),
        *_policies(read, on, verified),
        *_rows(read, verified),
        *_synthesis(read),
        *start.leftovers(folder),
        *besides,
    ]
    return Report(folder=folder, counts=read.counts, findings=tuple(findings))


def _unchecked(text: str) -> list[str]:
    return []


def _general(read: _Read) -> Iterator[Finding]:
    content, found = shapes.read(read.folder, pack.FILE, pack.SHAPE)
    found += pack.faults(content)
    yield from found
    read.language = str(content.get("language", ""))
    if not found:
        read.pack = pack.load(read.folder)
        if read.pack.name != read.folder.resolve().name:
            yield Finding(
                f"{pack.FILE}: name",
                f"{read.pack.name} is not the folder's name",
                f"write name: {read.folder.resolve().name}, or rename the folder",
            )


def _taxonomy(read: _Read) -> Iterator[Finding]:
    content, found = shapes.read(read.folder, taxonomy.FILE, taxonomy.SHAPE, language=read.language)
    yield from found
    entries = shapes.whole(content, "nodes", taxonomy.NODE, language=read.language)
    nodes = [taxonomy.node(entry) for entry in entries]
    wrong = list(taxonomy.faults(nodes))
    yield from wrong
    read.nodes = [] if wrong or found else nodes
    levels = taxonomy.levels(nodes)
    read.types = {one.id: [] for one in nodes if levels.get(one.id) == taxonomy.CATEGORY}
    for one in nodes:
        if levels.get(one.id) == taxonomy.TYPE and one.parent in read.types:
            read.types[one.parent].append(one.id)
    read.counts["nodes"] = len(nodes)
    read.counts["types"] = sum(map(len, read.types.values()))


def _institutions(read: _Read) -> Iterator[Finding]:
    content, found = shapes.read(read.folder, institutions.FILE, institutions.SHAPE, language=read.language)
    yield from found
    for entry in shapes.whole(content, "institutions", institutions.INSTITUTION, language=read.language):
        one = institutions.institution(entry, read.language)
        where = f"{institutions.FILE}: institutions[{one.id}]"
        if one.id in read.offices:
            yield Finding(where, "the id stands twice", "give each institution an id of its own")
        if one.valid_from and one.valid_to and one.valid_to <= one.valid_from:
            yield Finding(
                where,
                f"valid_to {one.valid_to} is not after valid_from {one.valid_from}",
                "exchange or mend the dates",
            )
        read.offices[one.id] = one
    for one in read.offices.values():
        for successor in one.replaced_by:
            if successor not in read.offices:
                yield Finding(
                    f"{institutions.FILE}: institutions[{one.id}]",
                    f"replaced_by {successor} is no institution",
                    "add it, or take it off the list",
                )
    read.counts["institutions"] = len(read.offices)


def _policies(read: _Read, on: date, cites: Cites) -> Iterator[Finding]:
    folder = read.folder / policy.FOLDER
    written = sorted(path.stem for path in folder.glob("*.yaml"))
    for category in read.types:
        if category not in written:
            yield Finding(
                f"{policy.FOLDER}/",
                f"category {category} has no policy",
                f"write {policy.FOLDER}/{category}.yaml",
            )
    for stem in written:
        name = f"{policy.FOLDER}/{stem}.yaml"
        if stem not in read.types:
            yield Finding(
                name, f"{stem} is no category of the taxonomy", "name the file after a category, or remove it"
            )
        content, found = shapes.read(read.folder, name, policy.SHAPE, language=read.language)
        yield from found
        if not found:
            one = policy.policy(content)
            read.policies.append(one)
            yield from _policy(one, name, stem, read, on)
            yield from _citations(one, name, cites)
    read.counts["policies"] = len(written)


def _policy(one: Policy, name: str, stem: str, read: _Read, on: date) -> Iterator[Finding]:
    if one.category != stem:
        yield Finding(f"{name}: category", f"{one.category} is not the file's name", f"write {stem}")
    principles = {principle.id for principle in read.pack.principles} if read.pack else set(one.strategy)
    for missing in sorted(principles - one.strategy.keys()):
        yield Finding(f"{name}: strategy", f"says nothing of principle {missing}", f"add {missing}: text")
    for unknown in sorted(one.strategy.keys() - principles):
        yield Finding(
            f"{name}: strategy",
            f"{unknown} is no principle of the pack",
            f"use {', '.join(sorted(principles))}, or add it to {pack.FILE}",
        )
    for office in one.institutions:
        where, known = f"{name}: institutions", read.offices.get(office)
        if known is None:
            yield Finding(where, f"{office} is not in {institutions.FILE}", "add it there, or remove it here")
        elif not known.confirmed:
            yield Finding(where, f"{office} is unconfirmed", "confirm it from a source, or remove it here")
        elif not known.exists(on):
            successors = " or ".join(known.replaced_by)
            instead = f"name {successors} instead" if successors else "remove it here"
            yield Finding(where, f"{office} is not there on {on}", instead)


def _citations(one: Policy, name: str, cites: Cites) -> Iterator[Finding]:
    texts = [("example.answer", one.example.answer)]
    texts += [("laws", citation) for law in one.laws for citation in law.citations()]
    for key, text in texts:
        for wrong in cites(text):
            yield Finding(f"{name}: {key}", wrong, "mend or remove the citation")


def _rows(read: _Read, cites: Cites) -> Iterator[Finding]:
    pairs, found = rows.read(read.folder, rows.PAIRS, rows.PAIR)
    held_out, more = rows.read(read.folder, rows.HELD_OUT, rows.PROMPT)
    yield from (*found, *more)
    read.counts |= {"pairs": len(pairs), "held-out prompts": len(held_out)}
    if read.types:  # without a taxonomy every row would be a finding
        yield from rows.place_faults(pairs, read.types, rows.PAIRS)
        yield from rows.untouched(pairs, read.types)
        yield from rows.place_faults(held_out, read.types, rows.HELD_OUT)
    yield from rows.twin_faults(held_out)
    for key in ("id", "prompt"):
        yield from rows.repeated([*pairs, *held_out], key)
    said = rows.prompts(pairs, held_out)
    if read.pack:
        yield from rows.answer_faults(pairs, read.pack.letters, cites)
        yield from rows.alike([*said, *_examples(read.policies)], read.pack.gram_length)
    if (read.folder / rows.WARMUP).is_file():
        warmup, found = rows.read(read.folder, rows.WARMUP, rows.EXCHANGE)
        yield from found
        yield from rows.learned(warmup, said)


def _synthesis(read: _Read) -> Iterator[Finding]:
    """What a pack may have besides: the templates of its seeds, and what is private where it is at home."""
    if (read.folder / seeds.FILE).is_file():
        content, found = shapes.read(read.folder, seeds.FILE, seeds.SHAPE, language=read.language)
        yield from found
        if not found and read.nodes:
            yield from seeds.faults(content, Taxonomy(tuple(read.nodes)))
            read.counts["seed templates"] = sum(map(len, content["templates"].values()))
    if (read.folder / privacy.FILE).is_file():
        content, found = shapes.read(read.folder, privacy.FILE, privacy.SHAPE, language=read.language)
        yield from found
        entries = shapes.whole(content, "patterns", privacy.PATTERN, language=read.language)
        yield from privacy.faults(entries)


def _examples(policies: Iterable[Policy]) -> Iterator[Said]:
    for one in policies:
        name = f"{policy.FOLDER}/{one.category}.yaml"
        yield Said(f"{name}: example.prompt", name, one.example.prompt)
