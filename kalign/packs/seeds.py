"""What the seeds of a pack are made of: templates for its types, and local material to put into them.

A pack may do without the file; its types' definitions then stand for templates.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kalign.packs import shapes
from kalign.packs.shapes import Content, Finding, Key, Shape
from kalign.packs.taxonomy import Taxonomy

if TYPE_CHECKING:
    from kalign.packs.pack import Pack

FILE = "seeds.yaml"
SHAPE: Shape = {
    "material": Key(kind="texts by name", empty=True),
    "templates": Key(kind="texts by name"),
}
SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates:
    """Sentences with {blanks} by type, and what may be put in by name: regions, roles, registers."""

    material: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    templates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read(pack: "Pack") -> Templates:
    """The templates of a pack; none, where it has no such file.

    Raises:
        DataError: the file is not what it should be.
    """
    if not (pack.folder / FILE).is_file():
        return Templates()
    content = shapes.required(pack.folder, FILE, SHAPE, language=pack.language)
    shapes.raise_first(list(faults(content, pack.taxonomy)), pack.folder)
    return Templates(
        material={name: tuple(texts) for name, texts in (content["material"] or {}).items()},
        templates={name: tuple(texts) for name, texts in content["templates"].items()},
    )


def faults(content: Content, taxonomy: Taxonomy) -> Iterator[Finding]:
    """Types without a template, templates of no type, and blanks that nothing fills."""
    types = {one.id: one for one in taxonomy.types}
    written = content["templates"]
    for name in types:
        if name not in written:
            yield Finding(f"{FILE}: templates", f"type {name} has no template", "add one, or more")
    for name, texts in written.items():
        if name not in types:
            yield Finding(
                f"{FILE}: templates", f"{name} is no type of the taxonomy", "name a type, or remove it"
            )
            continue
        known = {*blanks(taxonomy, name), *(content["material"] or {})}
        for text in texts:
            for blank in SLOT.findall(text):
                if blank not in known:
                    yield Finding(
                        f"{FILE}: templates[{name}]",
                        f"nothing fills {{{blank}}}",
                        f"use one of {', '.join(sorted(known)) or 'no blanks'}, or add it to material",
                    )


def blanks(taxonomy: Taxonomy, name: str) -> dict[str, Mapping[str, str]]:
    """The names of the slots of a type by id: its own, or its category's."""
    node = taxonomy.by_id[name]
    slots = node.slots or taxonomy.by_id[node.parent or name].slots
    return {slot.id: slot.name for slot in slots}
