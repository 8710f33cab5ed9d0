"""People check the tags: a sheet is drawn, two fill it in, and what they agree on is told."""

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from kalign.data import tags
from kalign.markers import audit
from tests.conftest import Result, write

Kalign = Callable[..., Result]


@pytest.fixture
def sheet(kalign_here: Kalign, tmp_path: Path) -> list[dict[str, str]]:
    """A sheet of a corpus in which culture is rare."""
    words = {0: "the ritual", 1: "kimchi", 2: "the taboo"}
    texts = [f"What is {words.get(n % 30, 'the number')} {n}?" for n in range(300)]
    write(tmp_path / "corpus.jsonl", [{"prompt": each} for each in texts])
    assert kalign_here("tag", "data.path=corpus.jsonl", "out=tags").returncode == 0
    assert kalign_here("audit", "draw", "tags=tags", "size=20").returncode == 0
    with Path("audit.csv").open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def fill(name: str, rows: list[dict[str, str]], culture: list[str]) -> None:
    with Path(name).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, audit.COLUMNS)
        writer.writeheader()
        for row, value in zip(rows, culture, strict=True):
            writer.writerow({**row, "culture": value})


def test_a_sheet_holds_rare_classes_too_and_no_tags(sheet: list[dict[str, str]]) -> None:
    kinds = Counter("number" if "number" in row["text"] else "culture" for row in sheet)
    assert kinds == {"culture": 12, "number": 4}
    assert all(row["culture"] == row["domain"] == "" for row in sheet)


def test_a_sheet_is_read_as_it_should_be_by_spreadsheets(kalign_here: Kalign, tmp_path: Path) -> None:
    texts = ["=HYPERLINK(A1)", " @SUM(1)", "+82", "-1", "설날"]
    write(tmp_path / "corpus.jsonl", [{"prompt": each} for each in texts])
    assert kalign_here("tag", "data.path=corpus.jsonl", "out=tags").returncode == 0
    assert kalign_here("audit", "draw", "tags=tags", "size=20").returncode == 0
    assert Path("audit.csv").read_bytes().startswith(b"\xef\xbb\xbf")  # or Hangul is shown as something else
    with Path("audit.csv").open(encoding="utf-8-sig", newline="") as stream:
        found = {row["text"]: row["text_sha256"] for row in csv.DictReader(stream)}
    assert found.keys() == {"'=HYPERLINK(A1)", "'@SUM(1)", "'+82", "'-1", "설날"}
    assert found["'+82"] == tags.key("+82")  # a rating belongs to the text as it is
    assert kalign_here("audit", "agreement", "audit.csv", "audit.csv").returncode == 0


def test_agreement_is_told_by_dimension_class_and_language_and_with_the_tagger(
    sheet: list[dict[str, str]], kalign_here: Kalign
) -> None:
    some = sheet[:4]
    fill("one.csv", some, ["knowledge", "knowledge", "none", "none"])
    fill("other.csv", some, ["knowledge", "none", "none", "none"])
    done = kalign_here("audit", "agreement", "one.csv", "other.csv", "tags=tags", "--json")
    assert "hold as many texts of a class as of another" in done.stderr
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["alpha"]["culture"] == pytest.approx(0.5333, abs=5e-5)
    assert told["raw"]["culture"] == 0.75
    assert told["by_class"]["knowledge"] == pytest.approx(0.5333, abs=5e-5)
    assert told["alpha"]["domain"] is None  # nobody rated it
    assert told["by_language"]["en"]["texts"] == 4
    assert told["tagger"]["culture"]["ratings"] == 8


def test_a_value_that_is_not_in_the_schema_is_named(sheet: list[dict[str, str]], kalign_here: Kalign) -> None:
    fill("one.csv", sheet[:1], ["bias"])
    fill("other.csv", sheet[:1], ["none"])
    refused = kalign_here("audit", "agreement", "one.csv", "other.csv")
    assert refused.returncode == 3
    assert "one.csv:2: culture=bias is not in schema 1" in refused.stderr
    again = kalign_here("audit", "draw", "tags=tags")
    assert again.returncode == 2
    assert "exists, perhaps with somebody's ratings in it" in again.stderr
