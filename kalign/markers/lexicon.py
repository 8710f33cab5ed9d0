"""Words that speak for a value: read from the tables, and found in a text.

Each script writes words otherwise, so each is looked up otherwise: as they stand, with one of the language's
suffixes written onto them, or anywhere in a run of letters where no spaces separate words.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from kalign import yaml_files
from kalign.markers import schema

WORD = re.compile(r"\w+(?:[-+'’.]\w+)*\+*")
# Dimension and value, or what tells a language: a script, letters, a frequent word. A Latin name that is not
# English is of dimension geo:LANG, because it may be another word or place elsewhere
Mark = tuple[str, str]
Rest = tuple[str, ...]  # what must follow the first word of a phrase
ANY = "*"  # as the language of a word: it is a frequent word of some language
WORDS_KEPT = 1 << 17


class Lexicon:
    """Every word of the tables, ready to be found."""

    def __init__(self) -> None:
        self.scripts = _Scripts(yaml_files.read(schema.TABLES / "scripts.yaml"))
        self.suffixes: set[str] = set()
        self._words: dict[str, list[tuple[Rest, bool, Mark]]] = {}
        self._joined: dict[str, list[tuple[str, Mark]]] = {}  # by first letter
        never: set[str] = set()
        for path in sorted((schema.TABLES / "lexicon").glob("*.yaml")):
            content = yaml_files.read(path)
            self.suffixes |= set(content.pop("suffixes", []))
            never |= set(content.pop("never", []))
            for country, places in content.pop("places", {}).items():
                self._add(places, ("geo", country), cased=True)
            for dimension, values in content.items():
                for value, words in values.items():
                    self._add(words, (dimension, value), cased=False)
        for lang, country, name in schema.names():
            if name not in never:
                own = self.scripts.of(name[0]) == "latin" and lang != "en"
                self._add([name], (f"geo:{lang}" if own else "geo", country), cased=True)
        for lang, words in self.scripts.words.items():
            self._add(words.split(), ("word", lang), cased=False)
        self.word = lru_cache(maxsize=WORDS_KEPT)(self._word)

    def find(self, text: str) -> Counter[Mark]:
        """How often each mark is spoken for in a text, a country once for each time it is named."""
        found: Counter[Mark] = Counter()
        tokens = WORD.findall(text)
        for place, token in enumerate(tokens):
            for rest, mark in self.word(token):
                if not rest or self._continues(tokens, place, rest):
                    found[mark] += 1
        return found

    def _add(self, words: Iterable[str], mark: Mark, *, cased: bool) -> None:
        for word in words:
            tokens = WORD.findall(str(word))
            if self.scripts.of(tokens[0][0]) in self.scripts.joined:
                self._joined.setdefault(tokens[0][0], []).append((str(word), mark))
                continue
            first, rest = tokens[0].casefold(), tuple(token.casefold() for token in tokens[1:])
            entry = (rest, cased and tokens[0][0].isupper(), mark)
            known = self._words.setdefault(first, [])
            if entry not in known:
                known.append(entry)

    def _word(self, token: str) -> tuple[tuple[Rest, Mark], ...]:
        """What a token alone speaks for, with the rest of the phrase that must follow it."""
        low, capital, script = token.casefold(), token[0].isupper(), self.scripts.of(token[0])
        found = [(rest, mark) for rest, upper, mark in self._words.get(low, ()) if capital or not upper]
        if script in self.scripts.attached and not found:
            found = self._with_suffix(low)
        elif script in self.scripts.joined:
            found += self._inside(token)
        elif script == "latin" and not found and low.endswith(("'s", "’s")):
            return self._word(token[:-2])
        inside = {self.scripts.of(letter) for letter in token} if script in self.scripts.joined else {script}
        found += [((), ("script", name)) for name in sorted(inside)]
        if any(mark[0] == "word" for _, mark in found):
            found.append(((), ("word", ANY)))
        found += [
            ((), ("letters", lang)) for lang, letters in self.scripts.letters.items() if letters & set(token)
        ]
        return tuple(found)

    def _with_suffix(self, low: str) -> list[tuple[Rest, Mark]]:
        """The marks of the longest word that `low` is, with one suffix taken off."""
        for cut in range(len(low) - 1, 0, -1):
            if low[cut:] in self.suffixes and low[:cut] in self._words:
                return [(rest, mark) for rest, _, mark in self._words[low[:cut]] if not rest and cut > 1]
        return []

    def _inside(self, token: str) -> list[tuple[Rest, Mark]]:
        """The marks of every word in a run of letters; where two begin at one place, of the longest."""
        found: list[tuple[Rest, Mark]] = []
        for place, letter in enumerate(token):
            here = [each for each in self._joined.get(letter, ()) if token.startswith(each[0], place)]
            if here:
                found.append(((), max(here, key=lambda each: len(each[0]))[1]))
        return found

    def _continues(self, tokens: list[str], place: int, words: Rest) -> bool:
        end = place + len(words)
        if end >= len(tokens):
            return False
        for word, token in zip(words[:-1], tokens[place + 1 : end], strict=True):
            if token.casefold() != word:
                return False
        last = tokens[end].casefold()
        return last == words[-1] or (last.startswith(words[-1]) and last[len(words[-1]) :] in self.suffixes)


class _Scripts:
    """The table of scripts."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        blocks: Mapping[str, Mapping[str, Any]] = content["scripts"]
        self.languages = {name: str(block["language"]) for name, block in blocks.items()}
        self.joined = {name for name, block in blocks.items() if block.get("joined")}
        self.attached = {name for name, block in blocks.items() if block.get("attached")}
        self.letters = {lang: set(letters) for lang, letters in content["letters"].items()}
        self.words: Mapping[str, str] = content["words"]
        self._ranges = [
            (int(span.partition("-")[0], 16), int(span.partition("-")[2], 16), name)
            for name, block in blocks.items()
            for span in block["ranges"]
        ]
        self.of = lru_cache(maxsize=WORDS_KEPT)(self._of)

    def _of(self, letter: str) -> str:
        point = ord(letter)
        if letter.isalpha() and point < 0x250:
            return "latin"
        return next((name for low, high, name in self._ranges if low <= point <= high), "other")
