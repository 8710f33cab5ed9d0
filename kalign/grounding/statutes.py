"""The table of laws and their articles, looked up by name the way people write names.

A folder of two CSV files: `laws.csv` names laws, `articles.csv` lists every article of those whose articles
are known. `source.yaml` says where both come from and how old they are.
"""

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

from kalign import files
from kalign.errors import DataError

LAW_COLUMNS = ("law_id", "name", "kind", "promulgated", "effective", "source", "as_of", "confidence")
ARTICLE_COLUMNS = ("law_id", "article", "branch", "title", "deleted", "effective")


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """One law, in the version that was promulgated last."""

    law_id: str
    name: str
    kind: str
    promulgated: str  # ISO date
    effective: str  # ISO date from which this version is in force
    source: str
    as_of: str  # ISO date of the state that the source showed
    confidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Article:
    """One article of a law; `branch` is the second number of an inserted article, else 0."""

    law_id: str
    article: int
    branch: int
    title: str
    deleted: bool
    effective: str  # of the law's version, not of the article: most articles are older


@dataclass(frozen=True)
class Statutes:
    """Laws by name and articles by number."""

    laws: Mapping[str, Law]  # by law_id
    articles: Mapping[tuple[str, int, int], Article]

    @cached_property
    def by_name(self) -> dict[str, Law]:
        """Laws by folded name; of several with one name, the one promulgated last."""
        found: dict[str, Law] = {}
        for law in sorted(self.laws.values(), key=lambda law: (law.promulgated, law.law_id)):
            found[folded(law.name)] = law
        return found

    @cached_property
    def titled(self) -> dict[str, bool]:
        """For each law whose articles are listed, whether its articles have titles."""
        titles: dict[str, list[bool]] = {}
        for article in self.articles.values():
            known = titles.setdefault(article.law_id, [])
            if not article.deleted:
                known.append(bool(article.title))
        return {law_id: 2 * sum(known) > len(known) for law_id, known in titles.items()}

    def named(self, name: str) -> Law | None:
        """The law of that name, however spaced."""
        return self.by_name.get(folded(name))

    def article(self, law: Law, number: int, branch: int) -> Article | None:
        """The article, or None where the law has no such number."""
        return self.articles.get((law.law_id, number, branch))

    @cached_property
    def as_of(self) -> date:
        """The newest state that any row shows."""
        return max(date.fromisoformat(law.as_of) for law in self.laws.values())


def folded(name: str) -> str:
    """The name without spaces, for comparison.

    >>> folded("Ferry Act")
    'FerryAct'
    """
    return re.sub(r"\s+", "", name)


def read(folder: Path) -> Statutes:
    """Read a table.

    Raises:
        DataError: a file is missing, or a row is not what its columns promise.
    """
    laws: dict[str, Law] = {}
    for line, row in files.read_csv(folder / "laws.csv"):
        _require(row, LAW_COLUMNS, f"{folder / 'laws.csv'}:{line}")
        law = Law(**row)
        if law.law_id in laws:
            raise DataError(f"{folder / 'laws.csv'}:{line}: law_id {law.law_id} stands twice")
        laws[law.law_id] = law
    articles: dict[tuple[str, int, int], Article] = {}
    for line, row in files.read_csv(folder / "articles.csv"):
        where = f"{folder / 'articles.csv'}:{line}"
        _require(row, ARTICLE_COLUMNS, where)
        article = _article(row, where)
        key = (article.law_id, article.article, article.branch)
        if key in articles:
            raise DataError(f"{where}: article {key[1]} branch {key[2]} of law {key[0]} stands twice")
        if article.law_id not in laws:
            raise DataError(f"{where}: law_id {article.law_id} is not in laws.csv")
        articles[key] = article
    return Statutes(laws, articles)


def _article(row: Mapping[str, str], where: str) -> Article:
    if row["deleted"] not in ("0", "1"):
        raise DataError(f"{where}: deleted is {row['deleted']!r}; use 0 or 1")
    try:
        article, branch = int(row["article"]), int(row["branch"])
    except ValueError as wrong:
        raise DataError(f"{where}: {row['article']!r} or {row['branch']!r} is no number") from wrong
    return Article(
        law_id=row["law_id"],
        article=article,
        branch=branch,
        title=row["title"],
        deleted=row["deleted"] == "1",
        effective=row["effective"],
    )


def write(folder: Path, table: Statutes) -> None:
    """Write a table, sorted so that two builds of one state are the same bytes."""
    laws = sorted(table.laws.values(), key=lambda law: law.law_id)
    _write_csv(
        folder / "laws.csv", LAW_COLUMNS, ([getattr(law, name) for name in LAW_COLUMNS] for law in laws)
    )
    articles = (table.articles[key] for key in sorted(table.articles))
    _write_csv(
        folder / "articles.csv",
        ARTICLE_COLUMNS,
        (
            [one.law_id, one.article, one.branch, one.title, int(one.deleted), one.effective]
            for one in articles
        ),
    )


def _write_csv(path: Path, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    with files.atomic(path) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def _require(row: Mapping[str, str], columns: Iterable[str], where: str) -> None:
    if missing := sorted(set(columns) ^ row.keys()):
        raise DataError(f"{where}: the columns should be {', '.join(columns)}; {', '.join(missing)} differs")
