"""Counts of tags: what every share, curve and map of a funnel is made of, in one pass over a file of tags."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kalign.data.tags import OK
from kalign.statistics import Estimate, wilson


@dataclass(kw_only=True)
class Tally:
    """What was counted over some texts. Shares are over those that were understood; the others stand beside
    them."""

    statuses: Counter[str] = field(default_factory=Counter)
    cultural: int = 0  # texts with at least one class of culture
    classes: Counter[str] = field(default_factory=Counter)  # texts of a class; one text may be of several
    geo: Counter[str] = field(default_factory=Counter)  # texts that name a country; one may name several
    domains: dict[str, Counter[str]] = field(default_factory=dict)  # texts, and those cultural, by domain
    tasks: dict[str, Counter[str]] = field(default_factory=dict)
    languages: dict[str, "Language"] = field(default_factory=dict)

    @property
    def ok(self) -> int:
        """The texts that were understood."""
        return self.statuses[OK]

    def share(self) -> Estimate | None:
        """The cultural share with its 95 % interval; None of nothing."""
        return wilson(self.cultural, self.ok) if self.ok else None

    def add(self, row: Mapping[str, Any]) -> None:
        """Count one row of a file of tags."""
        self.statuses[row["status"]] += 1
        if row["status"] != OK:
            return
        is_cultural = bool(row["culture"])
        self.cultural += is_cultural
        self.classes.update(row["culture"])
        self.geo.update(row["geo"])
        for counts, value in ((self.domains, row["domain"]), (self.tasks, row["task"])):
            counts.setdefault(value, Counter()).update({"texts": 1, "cultural": int(is_cultural)})
        language = self.languages.setdefault(row["lang"], Language())
        language.texts += 1
        language.cultural += is_cultural
        language.geo.update(row["geo"])

    def join(self, other: "Tally") -> None:
        """Count all that another one counted."""
        self.cultural += other.cultural
        for mine, theirs in (
            (self.statuses, other.statuses),
            (self.classes, other.classes),
            (self.geo, other.geo),
        ):
            mine.update(theirs)
        for blocks, added in ((self.domains, other.domains), (self.tasks, other.tasks)):
            for value, counts in added.items():
                blocks.setdefault(value, Counter()).update(counts)
        for lang, language in other.languages.items():
            own = self.languages.setdefault(lang, Language())
            own.texts += language.texts
            own.cultural += language.cultural
            own.geo.update(language.geo)


@dataclass(kw_only=True)
class Language:
    """What was counted over the texts of one language."""

    texts: int = 0
    cultural: int = 0
    geo: Counter[str] = field(default_factory=Counter)


def of(rows: Iterable[Mapping[str, Any]]) -> Tally:
    """The counts of all rows."""
    tally = Tally()
    for row in rows:
        tally.add(row)
    return tally
