"""Tags for people to check: a drawn sample to fill in, and how far those who did agree, with each other and
with the tagger."""

import csv
import heapq
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from kalign import files
from kalign.config import Source
from kalign.data import sources, tags
from kalign.data.tags import Tags
from kalign.errors import DataError, IntegrityError
from kalign.markers import corpora, schema, tagging
from kalign.markers.corpora import Corpus
from kalign.statistics import krippendorff, raw, wilson

RATED = ("culture", "domain", "task", "geo")
COLUMNS = ("row", "text_sha256", "lang", "text", *RATED)
NOTHING = "none"
FORMULA = ("=", "+", "-", "@")  # what a cell begins with that a spreadsheet would run


def draw(folder: Path, out: Path, *, size: int, seed: int = 0) -> int:
    """Write a sheet of texts whose tags are blank, and return how many there are.

    As many are drawn of each class of culture, and of none, as of another where there are enough: a rare
    class is what people should see. Shares in the sheet are therefore none of the corpus.

    Raises:
        DataError: there are no tags, or the corpus is not where it was.
        IntegrityError: the corpus is not what was tagged.
    """
    corpus = _corpus(folder)
    strata = [*schema.load().values["culture"], NOTHING]
    each = -(-size // len(strata))
    lots: dict[str, list[tuple[int, int]]] = {name: [] for name in strata}  # the smallest lots stay
    for row in tagging.rows(folder):
        if row["status"] != tags.OK:
            continue
        lot = -int.from_bytes(sha256(f"{seed}:{row['row']}".encode()).digest()[:8])
        name = stratum(row["culture"])
        push = heapq.heappush if len(lots[name]) < each else heapq.heappushpop
        push(lots[name], (lot, row["row"]))
    wanted = {number for drawn in lots.values() for _, number in drawn}
    sheet = []
    languages = {row["row"]: row["lang"] for row in tagging.rows(folder) if row["row"] in wanted}
    for sample in corpora.samples(corpus):
        if sample.row in wanted:
            key = tags.key(sample.text)
            text = harmless(sample.text)
            sheet.append([sample.row, key, languages[sample.row], text, *("" for _ in RATED)])
    # With the mark by which spreadsheets know UTF-8; without it other letters are shown as garbage
    with files.atomic(out) as partial, partial.open("w", encoding="utf-8-sig", newline="") as stream:
        csv.writer(stream).writerows([COLUMNS, *sheet])
    return len(sheet)


def harmless(text: str) -> str:
    """A text as a cell that no spreadsheet takes for a formula; the text itself is known by its hash.

    >>> harmless("=HYPERLINK(1)"), harmless("an answer")
    ("'=HYPERLINK(1)", 'an answer')
    """
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text


def stratum(culture: Sequence[str]) -> str:
    """The class that a text is drawn as: the last, rarer one of several."""
    return culture[-1] if culture else NOTHING


def agreement(sheets: Sequence[Path], folder: Path | None = None) -> dict[str, Any]:
    """How far the raters of several sheets agree: Krippendorff's alpha (nominal) of each dimension, of each
    class of culture, and of culture in each language; with tags, how often the tagger says what a rater says.

    Raises:
        DataError: a sheet is not one of ours, or holds a value that the schema does not have.
    """
    read = [read_sheet(path) for path in sheets]
    keys = list(dict.fromkeys(key for sheet in read for key in sheet))
    told: dict[str, Any] = {
        "raters": len(read),
        "texts": len(keys),
        "alpha": {},
        "raw": {},
        "by_class": {},
        "by_language": {},
    }

    def rated(dimension: str, some: Sequence[str] = keys) -> list[list[Any]]:
        return [[sheet[key][dimension] if key in sheet else None for sheet in read] for key in some]

    for dimension in RATED:
        told["alpha"][dimension] = krippendorff(rated(dimension))
        told["raw"][dimension] = raw(rated(dimension))
    for name in schema.load().values["culture"]:
        binary = [[None if v is None else name in v for v in item] for item in rated("culture")]
        told["by_class"][name] = krippendorff(binary)
    languages = {key: sheet[key]["lang"] for sheet in read for key in sheet}
    for lang in sorted(set(languages.values())):
        some = [key for key in keys if languages[key] == lang]
        told["by_language"][lang] = {"texts": len(some), "alpha": krippendorff(rated("culture", some))}
    if folder is not None:
        told["tagger"] = _with_tagger(read, tags.read(folder))
    return told


def _with_tagger(
    read: Sequence[Mapping[str, Mapping[str, Any]]], known: Mapping[str, Tags]
) -> dict[str, Any]:
    """The share of ratings that are the tagger's too, by dimension."""
    found: dict[str, Any] = {}
    for dimension in RATED:
        pairs = [
            (sheet[key][dimension], frozenset(known[key].values(dimension)) - {NOTHING})
            for sheet in read
            for key in sheet
            if key in known and sheet[key][dimension] is not None
        ]
        if pairs:
            share = wilson(sum(one == other for one, other in pairs), len(pairs))
            found[dimension] = {"ratings": len(pairs), **asdict(share)}
    return found


def _corpus(folder: Path) -> Corpus:
    """The corpus that was tagged into a folder."""
    said = tagging.of_folder(folder)
    source = Source(**{key: said[key] for key in ("path", "revision", "subset", "split")})
    if sources.digest(source) != said["sha256"]:
        raise IntegrityError(
            f"{source.path} is not what was tagged into {folder}; tag it again into another folder"
        )
    keys = ("name", "stage", "columns", "values", "share", "seed")
    return Corpus(source=source, **{key: said[key] for key in keys})


def read_sheet(path: Path) -> dict[str, dict[str, Any]]:
    """The ratings of a sheet by the key of their text; None where a cell is blank.

    Raises:
        DataError: it is not one of ours, or holds a value that the schema does not have.
    """
    known = schema.load()
    found: dict[str, dict[str, Any]] = {}
    for number, row in files.read_csv(path):
        if missing := [name for name in COLUMNS if name not in row]:
            raise DataError(f"{path} is no sheet of kalign audit draw: it has no column {missing[0]}")
        rated: dict[str, Any] = {"lang": row["lang"]}
        for dimension in RATED:
            written = row[dimension].replace(",", "|").replace(" ", "")
            values = frozenset(value for value in written.split("|") if value)
            for value in values - {NOTHING}:
                if value not in known.values[dimension]:
                    raise DataError(
                        f"{path}:{number}: {dimension}={value} is not in schema {known.version}; use "
                        f"{', '.join(list(known.values[dimension])[:6])}, ... or none, several with |"
                    )
            rated[dimension] = values - {NOTHING} if values else None
        found[row["text_sha256"]] = rated
    return found
