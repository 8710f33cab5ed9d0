"""The institutions of a pack: whom an answer may send people to, and since and until when."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from kalign.packs.shapes import Content, Key, Shape

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Institution:
    """One office or hotline; without dates, it has been there for as long as anybody knows."""

    id: str
    name: Mapping[str, str]  # by language
    aliases: tuple[str, ...]
    former_names: tuple[str, ...]
    phone: str | None
    former_phones: tuple[str, ...]
    purpose: str
    valid_from: date | None
    valid_to: date | None  # the first day without it
    replaced_by: tuple[str, ...]  # ids
    source: str
    verified_on: date | None
    confirmed: bool

    def offered(self, on: date) -> bool:
        """Whether an answer given on that day may name it: confirmed, begun, and not yet ended."""
        return self.confirmed and self.exists(on)

    def exists(self, on: date) -> bool:
        """Whether it is there on that day."""
        return (self.valid_from is None or self.valid_from <= on) and (
            self.valid_to is None or on < self.valid_to
        )


def institution(content: Content) -> Institution:
    """The institution that an entry of the right shape describes."""
    return Institution(
        id=content["id"],
        name=content["name"],
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
