"""Personal data in texts: what it looks like where the pack is at home, and masking it.

Patterns are matched against a text as its reader sees it: digits of any script as ASCII, every dash a hyphen,
no zero-width characters. Numbers that belong to a pack's institutions are nobody's private ones and stay.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from kalign.errors import DataError
from kalign.packs import shapes
from kalign.packs.shapes import Content, Finding, Key, Shape

if TYPE_CHECKING:
    from kalign.packs.pack import Pack

FILE = "privacy.yaml"
PATTERN: Shape = {
    "name": Key(kind="text"),
    "pattern": Key(kind="text"),
    "mask": Key(kind="text"),
    "check": Key(kind="checksum", required=False),
}
SHAPE: Shape = {"patterns": Key(kind=PATTERN, many=True)}
# What is private in every country; a pack's own patterns come first
AT = r"(?: ?@ ?|\s*[\[(]\s*(?i:at)\s*[\])]\s*)"
DOT = r"(?:\.|\s*[\[(]\s*(?i:dot)\s*[\])]\s*)"
# Of bounded length, as addresses are: an answer may be a million letters without a space
OTHER = (
    r"[^\x00-\x7f\s]{1,64}"  # names and domains in any other script; what follows a Latin one is a particle
)
LABEL = rf"(?:[a-zA-Z0-9-]{{1,64}}|{OTHER})"
# No digit first: prices (3 @ 1.5) and versions (name@2.0) stay
LAST = rf"(?:[a-zA-Z][a-zA-Z0-9-]{{0,63}}|{OTHER})"
EMAIL = {
    "name": "email",
    "pattern": rf"(?:[\w.+-]{{1,64}}|{OTHER}){AT}(?:{LABEL}{DOT})+{LAST}",
    "mask": "[e-mail]",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """One kind of personal data; `check` says which of what looks like it really is."""

    name: str
    pattern: re.Pattern[str]
    mask: str
    check: Mapping[str, Any] | None = None

    def is_private(self, found: str) -> bool:
        """Whether the check digit fits, where there is one."""
        if self.check is None:
            return True
        *digits, last = [int(letter) for letter in found if letter.isdigit()]
        weights = self.check["weights"]
        if len(digits) != len(weights):
            return False
        total = sum(digit * weight for digit, weight in zip(digits, weights, strict=True))
        return bool((self.check["from"] - total % self.check["modulus"]) % 10 == last)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """What is masked in the texts of a pack."""

    patterns: tuple[Pattern, ...]
    public: frozenset[str]  # numbers of institutions, as digits

    def __call__(self, text: str) -> tuple[str, list[str]]:
        """The text without personal data, and the name of each thing that was masked."""
        found: list[str] = []
        seen, places = _seen(text)
        for pattern in self.patterns:
            parts, last = [], 0
            for match in pattern.pattern.finditer(seen):
                digits = "".join(letter for letter in match[0] if letter.isdigit())
                if digits in self.public or not pattern.is_private(match[0]):
                    continue
                found.append(pattern.name)
                parts += [text[last : places[match.start()]], pattern.mask]
                last = places[match.end() - 1] + 1
            if parts:
                text = "".join([*parts, text[last:]])
                seen, places = _seen(text)
        return text, found


def _seen(text: str) -> tuple[str, Sequence[int]]:
    """A text as a reader sees it, and where each of its characters stands in the text itself."""
    if text.isascii():
        return text, range(len(text))
    plain = [_plain(letter) for letter in text]
    return "".join(plain), [place for place, letter in enumerate(plain) if letter]


@lru_cache(maxsize=20_000)
def _plain(letter: str) -> str:
    """What a reader takes one character for: at most one, so that places can be counted."""
    kind = unicodedata.category(letter)
    if kind == "Cf":
        return ""
    if kind == "Nd":
        return str(unicodedata.decimal(letter))
    if kind == "Pd" or letter == "\u2212":  # the minus sign is a dash to whoever reads a number
        return "-"
    if kind == "Zs":
        return " "
    plain = unicodedata.normalize("NFKC", letter)
    return plain if len(plain) == 1 and plain.isascii() else letter


def read(pack: "Pack") -> Mask:
    """The masking of a pack; e-mail addresses alone, where it has no such file.

    Raises:
        DataError: the file is not what it should be.
    """
    entries: list[Content] = []
    if (pack.folder / FILE).is_file():
        entries = shapes.required(pack.folder, FILE, SHAPE, language=pack.language)["patterns"]
        shapes.raise_first(list(faults(entries)), pack.folder)
    phones = (
        number
        for office in pack.institutions.values()
        for number in (office.phone, *office.former_phones)
        if number
    )
    public = frozenset("".join(letter for letter in number if letter.isdigit()) for number in phones)
    return Mask(patterns=tuple(_patterns([*entries, EMAIL])), public=public)


def faults(entries: Iterable[Content]) -> Iterator[Finding]:
    """Patterns that are no regular expressions."""
    for number, entry in enumerate(entries):
        try:
            list(_patterns([entry]))
        except DataError as wrong:
            yield Finding(
                f"{FILE}: patterns[{number}]", str(wrong), "write a regular expression in single quotes"
            )


def _patterns(entries: Iterable[Content]) -> Iterator[Pattern]:
    for entry in entries:
        try:
            compiled = re.compile(entry["pattern"], re.ASCII)
        except re.error as wrong:
            raise DataError(f"{entry['name']} has no regular expression: {wrong}") from wrong
        if compiled.match(""):
            raise DataError(f"{entry['name']} has a regular expression that finds nothing at all everywhere")
        yield Pattern(name=entry["name"], pattern=compiled, mask=entry["mask"], check=entry.get("check"))
