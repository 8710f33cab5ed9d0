"""What each citation of a text is worth on a date: it exists, it does not, or that cannot be said."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from kalign.grounding import grammar, statutes
from kalign.grounding.citations import COMPANY, Mention, Reader
from kalign.grounding.grammar import Grammar
from kalign.grounding.institutions import Institutions
from kalign.grounding.statutes import Article, Law, Statutes, folded
from kalign.records import Institution

OLDEST_TABLE_DAYS = 365  # beyond this age, what a table does not list may be new
HANJA = re.compile(r"[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff]")


class Status(StrEnum):
    """What a citation turned out to be; only the first two count as existing."""

    VERIFIED = "verified"
    NOT_YET_IN_FORCE = "not_yet_in_force"  # listed, in a version that takes effect after the date
    NO_SUCH_ARTICLE = "no_such_article"
    DELETED = "deleted"
    TITLE_MISMATCH = "title_mismatch"
    UNKNOWN_LAW = "unknown_law"
    NO_LAW_NAMED = "no_law_named"
    UNCHECKED = "unchecked"  # the law is known, but its articles are not listed
    TABLE_TOO_OLD = "table_too_old"
    STALE_INSTITUTION = "stale_institution"
    NOT_YET_INSTITUTION = "not_yet_institution"
    UNKNOWN_NUMBER = "unknown_number"
    WRONG_NUMBER = "wrong_number"  # it exists, but belongs to another office than the one named with it
    UNCONFIRMED = "unconfirmed"  # listed, but nobody has confirmed it

    @property
    def exists(self) -> bool:
        """Whether what is cited exists on the date."""
        return self in (Status.VERIFIED, Status.NOT_YET_IN_FORCE)

    @property
    def wrong(self) -> bool:
        """Whether it does not exist; what a table only does not know is not wrong."""
        return not self.exists and self not in (*UNKNOWABLE, Status.UNCONFIRMED)


UNKNOWABLE = (Status.UNCHECKED, Status.TABLE_TOO_OLD)  # of what the tables do not list


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """One citation with its status; `law`, `article` and `institution` are set where they are known."""

    kind: str  # article, law, institution or phone
    text: str
    status: Status
    detail: str = ""
    law: str | None = None
    article: int | None = None
    branch: int = 0
    institution: str | None = None  # its id

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return {name: getattr(self, name) for name in self.__slots__} | {"status": self.status.value}


class Grounding:
    """A pack's grammar and tables, and the verification of texts against them."""

    def __init__(self, grammar: Grammar, statutes: Statutes, institutions: Institutions) -> None:
        self.grammar = grammar
        self.statutes = statutes
        self.institutions = institutions
        self._reader = Reader(grammar, statutes)

    def citations(self, text: str, as_of: date) -> list[Citation]:
        """Everything that `text` cites, laws first, each with its status on the day `as_of`."""
        normal = self.grammar.normal(text)
        mentions = self._reader.mentions(normal)
        laws = [self._judged(mention, as_of) for mention in mentions]
        return [*laws, *self._offices(_without(normal, mentions), as_of)]

    def wrong(self, text: str, as_of: date) -> list[str]:
        """A sentence for each citation of `text` that does not hold on the day."""
        return [
            f"{one.text}: {one.status.value.replace('_', ' ')}, {one.detail}"
            for one in self.citations(text, as_of)
            if not one.status.exists
        ]

    def _judged(self, mention: Mention, as_of: date) -> Citation:
        status, detail = self._status(mention, as_of)
        return Citation(
            kind="law" if mention.article is None else "article",
            text=mention.text,
            status=status,
            detail=detail,
            law=mention.known,
            article=mention.article,
            branch=mention.branch,
        )

    def _status(self, mention: Mention, as_of: date) -> tuple[Status, str]:
        if mention.law is None:
            return Status.NO_LAW_NAMED, "no law is named in front of it"
        old = (as_of - self.statutes.as_of).days
        unlisted = (
            (Status.TABLE_TOO_OLD, f"not listed, but the table is {old} days old")
            if old > OLDEST_TABLE_DAYS
            else None
        )
        law = self.statutes.named(mention.known) if mention.known else None
        if law is None:
            if mention.known:
                return Status.UNCHECKED, f"{mention.known} is a decree whose articles are not listed"
            return unlisted or (Status.UNKNOWN_LAW, f"no law is called {mention.law}")
        if law.confidence != "confirmed":
            return Status.UNCHECKED, f"{law.name} is listed, but whether it is in force is not known"
        if mention.article is None:
            return _of_law(law, as_of)
        if law.law_id not in self.statutes.titled:
            return Status.UNCHECKED, f"the articles of {law.name} are not in this table"
        article = self.statutes.article(law, mention.article, mention.branch)
        if article is None:
            return unlisted or (Status.NO_SUCH_ARTICLE, f"{law.name} has no such article")
        return self._of_article(law, article, mention, as_of)

    def _of_article(self, law: Law, article: Article, mention: Mention, as_of: date) -> tuple[Status, str]:
        if article.deleted:
            return Status.DELETED, f"this article of {law.name} was deleted"
        if not article.title and self.statutes.titled[law.law_id]:
            return Status.UNCHECKED, "the table lists the number, but neither title nor text"
        if mention.title and not _same_title(mention.title, article.title):
            return Status.TITLE_MISMATCH, f"the article is called {article.title}"
        in_force = _of_law(law, as_of)
        return in_force if in_force[0] is Status.NOT_YET_IN_FORCE else (Status.VERIFIED, article.title)

    @cached_property
    def _office_names(self) -> re.Pattern[str]:
        return _any_of([*self.institutions.by_name, *self.grammar.ordinary_names])

    def _offices(self, text: str, as_of: date) -> Iterator[Citation]:
        named: list[tuple[re.Match[str], Institution]] = []
        for match in self._office_names.finditer(text):
            if match[0] not in self.institutions.by_name:
                continue
            row, former = _holding(self.institutions.by_name[match[0]], as_of)
            named.append((match, row))
            yield _office("institution", match[0], row, former, as_of)
        for match in self.grammar.phone.finditer(text):
            name, owner = self._owner(text, match.start(), named)
            rows = self.institutions.by_phone.get(match[0])
            if owner is None and not self._in_company(text, match):
                continue
            if rows is None:
                yield Citation(
                    kind="phone",
                    text=match[0],
                    status=Status.UNKNOWN_NUMBER,
                    detail="no office has this number",
                )
                continue
            row, former = _holding(rows, as_of)
            theirs = any(other is owner or name in f"{other.name} {other.purpose}" for other, _ in rows)
            if owner and owner.phone and not former and not theirs:
                detail = f"it is the number of {row.name}; {owner.name} has {owner.phone}"
                yield Citation(
                    kind="phone", text=match[0], status=Status.WRONG_NUMBER, detail=detail, institution=row.id
                )
                continue
            yield _office("phone", match[0], row, former, as_of)

    def _owner(
        self, text: str, start: int, named: list[tuple[re.Match[str], Institution]]
    ) -> tuple[str, Institution | None]:
        """The name that stands directly in front of a number, and whose it is."""
        for match, row in reversed(named):
            if match.end() + COMPANY < start:
                break
            if match.end() <= start and self.grammar.phone_owner_gap.search(text[match.end() : start]):
                return match[0], row
        return "", None

    def _in_company(self, text: str, match: re.Match[str]) -> bool:
        if "-" in match[0]:
            return True
        around = text[max(0, match.start() - COMPANY) : match.end() + COMPANY]
        return self.grammar.phone_company.search(around) is not None


def load(folder: Path, offices: Iterable[Institution], *, table: Path | None = None) -> Grounding:
    """The grounding of a pack's folder and its institutions; `table` replaces its laws by a fuller table.

    Raises:
        DataError: a file is missing or not what it should be.
    """
    return Grounding(
        grammar.read(folder / "citations.yaml"),
        statutes.read(table or folder / "statutes"),
        Institutions(offices),
    )


def _without(text: str, mentions: Sequence[Mention]) -> str:
    """The text with laws blanked out: a name may hold an office's, and an article is no telephone number."""
    pieces, end = [], 0
    for mention in mentions:
        if mention.start >= end:
            pieces += [text[end : mention.start], "\n" * len(mention.text)]
            end = mention.start + len(mention.text)
    return "".join([*pieces, text[end:]])


def _of_law(law: Law, as_of: date) -> tuple[Status, str]:
    if date.fromisoformat(law.effective) > as_of:
        return Status.NOT_YET_IN_FORCE, f"the listed version of {law.name} is in force from {law.effective}"
    return Status.VERIFIED, ""


def _same_title(written: str, listed: str) -> bool:
    if HANJA.search(listed):  # the text may spell it in another script
        return True
    one, other = (re.sub(r"[\W\u318d]+", "", folded(title)) for title in (written, listed))
    return one in other or other in one


def _holding(rows: list[tuple[Institution, bool]], as_of: date) -> tuple[Institution, bool]:
    """Of the offices that have or had this name or number, the one that has it on the day, else the last."""
    return next((one for one in rows if not one[1] and one[0].exists(as_of)), rows[-1])


def _office(kind: str, text: str, row: Institution, former: bool, as_of: date) -> Citation:
    status, detail = Status.VERIFIED, row.purpose
    if row.valid_to is not None and as_of >= row.valid_to:
        detail = f"it no longer exists since {row.valid_to}"
        status = Status.STALE_INSTITUTION
    elif former and (row.valid_from is None or as_of >= row.valid_from):
        now = row.phone if kind == "phone" else row.name
        status, detail = Status.STALE_INSTITUTION, f"since {row.valid_from} it is {now}"
    elif not former and row.valid_from is not None and as_of < row.valid_from:
        status, detail = Status.NOT_YET_INSTITUTION, f"it exists from {row.valid_from}"
    elif not row.confirmed:
        status, detail = Status.UNCONFIRMED, f"{row.name} is listed, but not confirmed"
    return Citation(kind=kind, text=text, status=status, detail=detail, institution=row.id)


def _any_of(names: Sequence[str]) -> re.Pattern[str]:
    """A pattern for the longest of the names at each place; one that never matches where there are none."""
    longest_first = sorted(names, key=lambda name: (-len(name), name))
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
