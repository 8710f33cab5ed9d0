"""The institutions of a pack: the shape of their file, and reading them from it."""

from datetime import date

from kalign.packs.shapes import Content, Key, Shape
from kalign.records import Institution

FILE = "institutions.yaml"
INSTITUTION: Shape = {
    "id": Key(kind="text"),
    "name": Key(kind="names"),
    "aliases": Key(kind="texts", empty=True),
    "former_names": Key(kind="texts", empty=True),
    "phone": Key(kind="text", empty=True),
    "former_phones": Key(kind="texts", empty=True),
    "purpose": Key(kind="text"),
    "valid_from": Key(kind="date", empty=True),
    "valid_to": Key(kind="date", empty=True),
    "replaced_by": Key(kind="texts", empty=True),
    "source": Key(kind="text"),
    "verified_on": Key(kind="date", empty=True),
    "confidence": Key(kind="confidence"),
}
SHAPE: Shape = {"institutions": Key(kind=INSTITUTION, many=True)}


def institution(content: Content, language: str) -> Institution:
    """The institution that an entry of the right shape describes, called as the language calls it."""
    return Institution(
        id=content["id"],
        name=content["name"].get(language, content["id"]),
        aliases=tuple(content["aliases"] or ()),
        former_names=tuple(content["former_names"] or ()),
        phone=content["phone"],
        former_phones=tuple(content["former_phones"] or ()),
        purpose=content["purpose"],
        valid_from=_day(content["valid_from"]),
        valid_to=_day(content["valid_to"]),
        replaced_by=tuple(content["replaced_by"] or ()),
        source=content["source"],
        verified_on=_day(content["verified_on"]),
        confirmed=content["confidence"] == "confirmed",
    )


def _day(written: str | None) -> date | None:
    return date.fromisoformat(written) if written else None
