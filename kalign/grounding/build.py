"""A table of laws from a source of statutes: a checkout of Markdown files, or a CSV index of articles.

The Markdown is that of https://github.com/legalize-kr/legalize-kr: YAML front matter, one heading an article.
Which keys and headings these are is said by the pack's `citations.yaml`.
"""

import csv
import gzip
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from kalign.errors import ConfigError, DataError
from kalign.grounding.grammar import Grammar
from kalign.grounding.statutes import Article, Law, Statutes

INDEX = "articles.csv.gz"
UNKNOWN_DATE = "9999-01-01"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a table comes from, written into each of its rows."""

    source: str
    as_of: str  # ISO date of the state that was read


def build(source: Path, grammar: Grammar, origin: Origin) -> Statutes:
    """Read every law and article that `source` holds.

    A law without articles is marked as unconfirmed, because some of those were repealed as a whole.

    Args:
        source: a folder with a checkout or with `articles.csv.gz`, or that file itself.

    Raises:
        ConfigError: there is no such source.
        DataError: a file is not what it should be, or an article stands twice.
    """
    index = source / INDEX if source.is_dir() else source
    if index.is_file():
        laws, articles = _from_index(index, grammar.source, origin)
    elif source.is_dir():
        laws, articles = _from_checkout(source, grammar.source, origin)
    else:
        raise ConfigError(f"--source {source} does not exist; give a checkout, or a folder with {INDEX}")
    with_articles = {article.law_id for article in articles}
    marked = {
        law_id: law if law_id in with_articles else replace(law, confidence="unconfirmed")
        for law_id, law in laws.items()
    }
    return Statutes(marked, _unique(articles))


def faults(table: Statutes, probes: Iterable[Mapping[str, Any]]) -> list[str]:
    """What the table gets wrong of the articles that every table must have; a sentence each."""
    found = []
    for probe in probes:
        law = table.named(probe["law"])
        article = table.article(law, probe["article"], probe["branch"]) if law else None
        shown = f"{probe['law']} {probe['article']}-{probe['branch']}"
        if article is None:
            found.append(f"{shown} is missing")
        elif article.deleted != probe["deleted"] or article.title != probe["title"]:
            found.append(
                f"{shown} is {article.title!r}, deleted {article.deleted}; it should be {probe['title']!r}, "
                f"deleted {probe['deleted']}"
            )
    return found


def excerpt(table: Statutes, grammar: Grammar) -> Statutes:
    """Every act by name, and the articles of the laws that a pack lists or has an alias for.

    Raises:
        DataError: the table has no law of one of these names.
    """
    listed = {}
    for name in (*grammar.aliases.values(), *grammar.listed):
        law = table.named(name)
        if law is None:
            raise DataError(f"the source has no law called {name}; mend the pack's citations.yaml")
        listed[law.law_id] = law
    acts = {law.law_id: law for law in table.by_name.values() if law.kind == grammar.source["act"]}
    articles = {key: article for key, article in table.articles.items() if key[0] in listed}
    return Statutes(acts | listed, articles)


def _from_index(
    path: Path, spelled: Mapping[str, Any], origin: Origin
) -> tuple[dict[str, Law], list[Article]]:
    without = spelled.get("without_articles") or ()
    laws = {
        row["law_id"]: _law(row["law_id"], row["name"], row | {"kind": spelled["act"]}, origin)
        for row in without
    }
    articles = []
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
            for row in tqdm(csv.DictReader(stream), desc=f"reading {path.name}", unit="row", leave=False):
                law = _law(row["law_id"], row["law_name"], row, origin)
                laws.setdefault(law.law_id, law)
                if int(row["article"]):  # 0 holds text without articles, mostly a repeal
                    articles.append(
                        _article(law, row["article"], row["branch"], row["title"], row["deleted"] == "1")
                    )
    except (OSError, KeyError, TypeError, ValueError, EOFError, csv.Error, zlib.error) as wrong:
        raise DataError(f"{path} is no index of articles: {wrong!r}") from wrong
    return laws, articles


def _from_checkout(
    folder: Path, spelled: Mapping[str, Any], origin: Origin
) -> tuple[dict[str, Law], list[Article]]:
    paths = sorted(folder.glob(spelled["files"]))
    if not paths:
        raise ConfigError(f"--source {folder} has neither {INDEX} nor {spelled['files']}")
    heading, deleted = re.compile(spelled["heading"]), re.compile(spelled["deleted"])
    laws: dict[str, Law] = {}
    articles: list[Article] = []
    for path in tqdm(paths, desc=f"reading {folder}", unit="law", leave=False):
        head, body = _parted(path)
        keys = spelled["keys"]
        try:
            named = {key: str(head[keys[key]]) for key in ("kind", "promulgated", "effective")}
            law = _law(str(head[keys["law_id"]]), str(head[keys["name"]]), named, origin)
        except KeyError as wrong:
            raise DataError(f"{path}: its front matter has no {wrong}") from wrong
        laws[law.law_id] = law
        articles += _articles(law, body, heading, deleted)
    return laws, articles


def _parted(path: Path) -> tuple[dict[str, Any], list[str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as wrong:
        raise DataError(f"{path}: not UTF-8, byte {wrong.start}; fetch it again") from wrong
    parts = re.split(r"^---\s*$", text, maxsplit=2, flags=re.MULTILINE)
    if len(parts) < 3:
        raise DataError(f"{path} has no front matter between two lines of ---")
    try:
        head = yaml.load(parts[1], Loader=yaml.BaseLoader)  # numbers with leading zeros stay text
    except yaml.YAMLError as wrong:
        raise DataError(f"{path}: its front matter is no YAML: {' '.join(str(wrong).split())}") from wrong
    if not isinstance(head, dict):
        raise DataError(f"{path}: its front matter has no keys")
    return head, parts[2].splitlines()


def _articles(
    law: Law, lines: list[str], heading: re.Pattern[str], deleted: re.Pattern[str]
) -> Iterator[Article]:
    for number, line in enumerate(lines):
        if match := heading.match(line):
            below = next((other for other in lines[number + 1 :] if other.strip()), "")
            gone = deleted.match(below) is not None
            title = "" if gone else (match["title"] or "")
            yield _article(law, match["article"], match["branch"] or "0", title, gone)


def _law(law_id: str, name: str, row: Mapping[str, str], origin: Origin) -> Law:
    return Law(
        law_id=law_id,
        name=name,
        kind=row["kind"],
        promulgated=row["promulgated"],
        effective=row["effective"] or UNKNOWN_DATE,
        source=origin.source,
        as_of=origin.as_of,
        confidence="confirmed",
    )


def _article(law: Law, article: str, branch: str, title: str, deleted: bool) -> Article:
    return Article(
        law_id=law.law_id,
        article=int(article),
        branch=int(branch),
        title=title,
        deleted=deleted,
        effective=law.effective,
    )


def _unique(articles: list[Article]) -> dict[tuple[str, int, int], Article]:
    found: dict[tuple[str, int, int], Article] = {}
    for article in articles:
        key = (article.law_id, article.article, article.branch)
        if key in found:
            raise DataError(
                f"law {key[0]} has article {key[1]} branch {key[2]} twice; were branch numbers lost?"
            )
        found[key] = article
    return found
