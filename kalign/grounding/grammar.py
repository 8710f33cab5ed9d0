"""How a language cites laws, offices and telephone numbers: a pack's `citations.yaml`, compiled."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kalign import yaml_files
from kalign.errors import DataError
from kalign.grounding.statutes import folded

PATTERNS = (
    "article",
    "bare_article",
    "paragraph",
    "title",
    "no_title",
    "joined",
    "quoted",
    "invoked",
    "phone",
    "phone_company",
    "phone_owner_gap",
)
WORDS = (
    "law_endings",
    "law_particles",
    "subordinate",
    "same_law",
    "generic",
    "name_joiners",
    "ordinary_words",
    "ordinary_names",
)
OTHERS = ("same_characters", "closing_quotes", "law_behind", "aliases", "listed", "source", "probes")


@dataclass(frozen=True, kw_only=True)
class Grammar:
    """Compiled patterns, and words without spaces, longest first, so that the longest one is met first."""

    article: re.Pattern[str]
    bare_article: re.Pattern[str]
    paragraph: re.Pattern[str]
    title: re.Pattern[str]
    no_title: re.Pattern[str]
    joined: re.Pattern[str]
    quoted: re.Pattern[str]
    invoked: re.Pattern[str]
    phone: re.Pattern[str]
    phone_company: re.Pattern[str]
    phone_owner_gap: re.Pattern[str]
    law_endings: tuple[str, ...]
    law_particles: tuple[str, ...]
    subordinate: tuple[str, ...]
    same_law: frozenset[str]
    generic: frozenset[str]
    name_joiners: tuple[str, ...]
    ordinary_words: tuple[str, ...]
    ordinary_names: tuple[str, ...]
    characters: Mapping[int, str]
    closing_quotes: str
    law_behind: re.Pattern[str] | None  # between an article and the law behind it; None: laws stand in front
    aliases: Mapping[str, str]  # folded alias to the law's name
    listed: tuple[str, ...]  # laws whose articles the pack's own table lists, besides those with an alias
    source: Mapping[str, Any]
    probes: tuple[Mapping[str, Any], ...]

    def normal(self, text: str) -> str:
        """The text in NFC, with characters that mean the same made the same."""
        return unicodedata.normalize("NFC", text).translate(self.characters)


def read(path: Path) -> Grammar:
    """Read and compile a pack's `citations.yaml`.

    Raises:
        DataError: it is missing, a key is missing or unknown, or a pattern is no regular expression.
    """
    content = yaml_files.read(path)
    known = {*PATTERNS, *WORDS, *OTHERS}
    if not isinstance(content, dict) or (differing := known ^ content.keys()):
        listed = ", ".join(sorted(differing if isinstance(content, dict) else known))
        raise DataError(f"{path} should have exactly the documented keys; {listed} is missing or unknown")
    patterns = {key: _compiled(content[key], key, path) for key in PATTERNS}
    words = {key: _longest_first(content[key]) for key in WORDS}
    characters = {
        ord(other): one for one, others in (content["same_characters"] or {}).items() for other in others
    }
    return Grammar(
        **patterns,
        law_endings=words["law_endings"],
        law_particles=words["law_particles"],
        subordinate=words["subordinate"],
        name_joiners=words["name_joiners"],
        ordinary_words=words["ordinary_words"],
        ordinary_names=words["ordinary_names"],
        same_law=frozenset(words["same_law"]),
        generic=frozenset(words["generic"]),
        characters=characters,
        closing_quotes=str(content["closing_quotes"] or ""),
        law_behind=_compiled(content["law_behind"], "law_behind", path) if content["law_behind"] else None,
        aliases={folded(alias): str(name) for alias, name in (content["aliases"] or {}).items()},
        listed=tuple(content["listed"] or ()),
        source=content["source"] or {},
        probes=tuple(content["probes"] or ()),
    )


def _compiled(pattern: object, key: str, path: Path) -> re.Pattern[str]:
    try:
        return re.compile(str(pattern))
    except re.error as wrong:
        raise DataError(f"{path}: {key} is no regular expression: {wrong}") from wrong


def _longest_first(words: list[str] | None) -> tuple[str, ...]:
    return tuple(sorted({folded(str(word)) for word in words or ()}, key=lambda word: (-len(word), word)))
