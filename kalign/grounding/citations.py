"""What a text cites: every article with the law it is taken from, every law, office and telephone number.

A law's name is looked up backwards from the article, in a window of bounded length, as the longest known name
that begins where a word begins; so a name that ends like another one's is never taken for it. Nothing here
says whether a citation is right.

The time is linear in the text: patterns repeat at most a bounded number of times, windows are bounded, and
names are looked up in sets.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from kalign.grounding.grammar import Grammar
from kalign.grounding.statutes import Statutes, folded

WINDOW = 120  # characters in front of an article in which its law may be named; the longest name has 105
BEHIND = 40  # characters behind an article that may name its title
COMPANY = 14  # characters around a short number in which a word makes it a telephone number
# A middle dot parts words, though it may count as a letter
WORD_START = re.compile(r"(?<!\w)\w|(?<=[\u318d\u00b7])\w")
WORD_END = re.compile(r"\w(?!\w)")
LONGEST_UNKNOWN = 6  # words of an unknown name that are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """One law or article as a text names it.

    `law` is the name as written (None: none is named); `known` the name in the table that it stands for
    (None: no such law). `article` is None where a law is cited as a whole.
    """

    text: str
    start: int
    law: str | None
    known: str | None
    article: int | None
    branch: int
    title: str | None


@dataclass(frozen=True, slots=True)
class _Law:
    """A law found in front of an article: as written, and as the table calls it."""

    written: str | None
    known: str | None
    start: int


class Reader:
    """Finds the laws and articles that texts name."""

    def __init__(self, grammar: Grammar, statutes: Statutes) -> None:
        self.grammar = grammar
        self.names = {folded(law.name): law.name for law in statutes.laws.values()}
        self.names |= grammar.aliases

    def mentions(self, text: str) -> list[Mention]:
        """Every law and article that `text` (already normal) cites, in order."""
        found: list[Mention] = []
        antecedent: _Law | None = None  # the law named last, which "the same law" means
        taken = -1  # end of the last article, so that what it covers is not read twice
        for start, kind, match in self._anchors(text):
            if start < taken:
                continue
            if kind == "article":
                mention, taken = self._article(text, match, self._law_of(text, match, found, antecedent))
                law = _Law(mention.law, mention.known, mention.start)
            else:
                law, taken = self._named(text, kind, match), match.end()
                if law.written is None:
                    continue
                mention = self._whole(text, law, match)
            if law.written:
                antecedent = law
            found.append(mention)
        return self._shared_forwards(text, found) if self.grammar.law_behind else found

    def _anchors(self, text: str) -> Iterator[tuple[int, str, re.Match[str]]]:
        """Where a citation may be, in order: articles, laws in quotation marks, laws that are invoked."""
        grammar = self.grammar
        anchors = [(match.start(), "article", match) for match in grammar.article.finditer(text)]
        anchors += [
            (match.start(), "article", match)
            for match in grammar.bare_article.finditer(text)
            if self._ends_like_a_law(
                text[max(0, match.start() - 12) : match.start()].rstrip(self.grammar.closing_quotes + " ")
            )
        ]
        anchors += [
            (match.end(), "quoted", match)
            for match in grammar.quoted.finditer(text)
            if self._ends_like_a_law(match["law"])
        ]
        anchors += [
            (match.start(), "invoked", match)
            for match in grammar.invoked.finditer(text)
            if self._ends_like_a_law(text[max(0, match.start() - 12) : match.start()])
        ]
        return iter(sorted(anchors, key=lambda anchor: (anchor[0], anchor[1])))

    def _ends_like_a_law(self, text: str) -> bool:
        return text.endswith(self.grammar.law_endings)

    def _article(self, text: str, match: re.Match[str], law: _Law) -> tuple[Mention, int]:
        """The mention, and where it ends: behind paragraph, item and title if they follow."""
        end = match.end()
        while step := self.grammar.paragraph.match(text, end, end + BEHIND):
            end = step.end()
        title = None
        if (
            behind := self.grammar.title.match(text, end, end + 2 * BEHIND)
        ) and not self.grammar.no_title.search(behind["title"]):
            title, end = behind["title"], behind.end()
        start = law.start if 0 <= law.start < match.start() else match.start()
        mention = Mention(
            text=text[start:end].strip(),
            start=start,
            law=law.written,
            known=law.known,
            article=int(match["article"]),
            branch=int(match["branch"] or 0),
            title=title,
        )
        return mention, end

    def _law_of(self, text: str, match: re.Match[str], found: list[Mention], antecedent: _Law | None) -> _Law:
        """The law that an article is taken from; one joined to the article before shares its law."""
        law = self._behind(text, match.end(), antecedent)
        if law.written is None:
            law = self._in_front(text, match.start(), antecedent)
        if law.written is None and found and found[-1].article is not None:
            last = found[-1]
            if self._joined(text, last, match.start()):
                return _Law(last.law, last.known, -1)
        return law

    def _joined(self, text: str, last: Mention, start: int) -> bool:
        between = text[last.start + len(last.text) : start]
        return len(between) <= BEHIND and self.grammar.joined.search(between) is not None

    def _shared_forwards(self, text: str, found: list[Mention]) -> list[Mention]:
        """Where laws stand behind: an article that is joined to the next one has that one's law."""
        for place in range(len(found) - 2, -1, -1):
            one, following = found[place], found[place + 1]
            if one.law is None and one.article is not None and self._joined(text, one, following.start):
                found[place] = replace(one, law=following.law, known=following.known)
        return found

    def _behind(self, text: str, end: int, antecedent: _Law | None) -> _Law:
        """The longest known name behind the article, or the shortest that ends like a law."""
        while step := self.grammar.paragraph.match(text, end, end + BEHIND):
            end = step.end()
        between = self.grammar.law_behind.match(text, end) if self.grammar.law_behind else None
        if between is None:
            return _Law(None, None, -1)
        window = text[between.end() : between.end() + WINDOW]
        ends = [match.end() for match in WORD_END.finditer(window)]
        for stop in reversed(ends):
            if folded(window[:stop]) in self.names or folded(window[:stop]) in self.grammar.same_law:
                return self._looked_up(window[:stop], between.end(), antecedent)
        for stop in ends:
            if self._ends_like_a_law(window[:stop]):
                return _Law(window[:stop], None, between.end())
        return _Law(None, None, -1)

    def _in_front(self, text: str, start: int, antecedent: _Law | None) -> _Law:
        low = max(0, start - WINDOW)
        window = text[low:start].rstrip()
        if window.endswith(")"):  # its short name may stand in brackets behind a law's name
            opened = window.rfind("(", max(0, len(window) - 60))
            window = window[:opened].rstrip() if opened >= 0 else window
        if quoted := self._quoted_at_end(window):
            return self._looked_up(quoted, low + window.rfind(quoted) - 1, antecedent)
        return self._at_end(self._without_particle(window), low, antecedent)

    def _quoted_at_end(self, window: str) -> str | None:
        """The name in quotation marks at the end of the window, particle or not."""
        for end in (window, self._without_particle(window)):
            matches = list(self.grammar.quoted.finditer(end))
            if matches and matches[-1].end() == len(end):
                return str(matches[-1]["law"]).strip()
        return None

    def _without_particle(self, window: str) -> str:
        for particle in self.grammar.law_particles:
            if window.endswith(particle):
                shorter = window[: -len(particle)].rstrip()
                if self._ends_like_a_law(shorter) or shorter.endswith(tuple(self.grammar.closing_quotes)):
                    return shorter
        return window

    def _at_end(self, window: str, low: int, antecedent: _Law | None) -> _Law:
        """The longest known name that ends the window and begins where a word begins."""
        if not self._ends_like_a_law(window):
            return _Law(None, None, -1)
        starts = [match.start() for match in WORD_START.finditer(window)]
        for start in starts:
            written = window[start:]
            name = folded(written)
            if name in self.names or name in self.grammar.same_law or self._is_subordinate(name, antecedent):
                return self._looked_up(written, low + start, antecedent)
        return self._unknown(window, starts, low)

    def _unknown(self, window: str, starts: list[int], low: int) -> _Law:
        """The name of a law that nobody knows: the last word, or more where it is no name by itself."""
        last = starts[-1] if starts else 0
        word = folded(window[last:])
        if word.endswith(self.grammar.ordinary_words):
            return _Law(None, None, -1)
        if word in self.grammar.generic:
            if len(starts) < 3 or window[starts[-2] : last].strip() not in self.grammar.name_joiners:
                return _Law(None, None, -1)
            last = starts[max(0, len(starts) - LONGEST_UNKNOWN)]
        return _Law(window[last:], None, low + last)

    def _is_subordinate(self, name: str, antecedent: _Law | None) -> bool:
        """Whether it is a decree under a known law, or under "the same law"."""
        for ending in self.grammar.subordinate:
            base = name.removesuffix(ending)
            if base != name and (base in self.names or (base in self.grammar.same_law and antecedent)):
                return True
        return False

    def _looked_up(self, written: str, start: int, antecedent: _Law | None) -> _Law:
        name = folded(written)
        if name in self.grammar.same_law:
            return _Law(antecedent.written, antecedent.known, start) if antecedent else _Law(None, None, -1)
        for ending in self.grammar.subordinate:
            base = name.removesuffix(ending)
            if base != name and name not in self.names:
                law = self._looked_up(base, start, antecedent)
                known = f"{law.known} {ending}" if law.known else None
                return _Law(written, known, start)
        return _Law(written, self.names.get(name), start)

    def _named(self, text: str, kind: str, match: re.Match[str]) -> _Law:
        """The law that is cited as a whole; none where an article of it follows, or the word is no law."""
        if kind == "quoted":
            bracket = text[match.end() : match.end() + 1] == "("
            if self.grammar.article.search(text, match.end(), match.end() + (WINDOW if bracket else COMPANY)):
                return _Law(None, None, -1)
            written = match["law"].strip()
            return self._looked_up(written, match.start(), None)
        low = max(0, match.start() - WINDOW)
        return self._at_end(text[low : match.start()], low, None)

    def _whole(self, text: str, law: _Law, match: re.Match[str]) -> Mention:
        return Mention(
            text=text[law.start : match.end()].strip(),
            start=law.start,
            law=law.written,
            known=law.known,
            article=None,
            branch=0,
            title=None,
        )
