"""What is held does not grow with the number of rows; tests/benchmarks/pipeline.py measures whole runs."""

import gc
import hashlib
import json
import tracemalloc
from dataclasses import asdict
from pathlib import Path

import pytest

from kalign import packs
from kalign.errors import DataError
from kalign.records import Attack, Judged, Response, Vote, VoteKind
from kalign.synthesis import review, rows, tally, triplets
from kalign.synthesis.folder import Folder
from kalign.synthesis.likeness import Likeness

LONG = "가나다라마바사아자차카타파하 " * 150


def judged(number: int) -> Judged:
    """A row that was kept, of about 10 kB; each number gives another."""
    own = hashlib.sha256(str(number).encode()).hexdigest()
    attack = Attack(
        id=f"row-{number:06}", category="A", type="A.harassment", prompt=own, answer=f"{own}{LONG}"
    )
    votes = tuple(
        Vote(judge=name, kind=VoteKind.VALID, verdicts={"natural": "yes"}, key=f"{number:064}")
        for name in ("one", "two", "three")
    )
    response = Response(id=attack.id, attack=attack, chosen=f"{LONG}{own}")
    return Judged(id=attack.id, response=response, votes=votes, decisions={"natural": "yes"})


def peak(folder: Path, count: int) -> int:
    """The most bytes that Python held while a folder of so many rows was counted, selected and written."""
    folder.mkdir()
    path = folder / "judged.jsonl"
    with path.open("w", encoding="utf-8") as lines:
        for number in range(count):
            lines.write(json.dumps(asdict(judged(number)), ensure_ascii=False) + "\n")
    taxonomy = packs.load("ko").taxonomy
    gc.collect()
    tracemalloc.start()
    try:
        counted = tally.of(Folder(folder))
        index = Likeness(0.7, gram_length=13)
        selection = triplets.select(path, taxonomy, size=5 * count, likeness=index)
        triplets.write(folder, selection, taxonomy)
        assert len(review.sample(rows.read(path, Judged), 10)) == 10
        assert len(counted.panels) == len(selection) == count
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_more_rows_take_no_more_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triplets, "ROWS_A_GROUP", 20)
    peak(tmp_path / "first", 10)  # what is loaded once
    few, many = peak(tmp_path / "few", 80), peak(tmp_path / "many", 200)
    assert many - few < 120 * 2 * 2 * len(LONG) / 4  # a quarter of what the texts of the further rows take


def test_rows_are_found_again_by_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    texts = [json.dumps(asdict(judged(number)), ensure_ascii=False) for number in range(3)]
    path.write_text("\ufeff" + texts[0] + "\r\n\n" + texts[1] + "\n" + texts[2], encoding="utf-8")
    numbers = {one.id: number for number, one in rows.numbered(path, Judged)}
    assert list(numbers.values()) == [1, 3, 4]
    backwards = list(rows.pick(path, Judged, reversed(numbers.values())))
    assert backwards == [judged(2), judged(1), judged(0)]


def test_an_id_that_stands_twice_in_a_file_of_the_users_own_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": "a"}\n{"id": "b"}\n{"id": "a"}\n', encoding="utf-8")
    with pytest.raises(DataError, match="rows.jsonl:3: id a stands twice"):
        rows.require_unique(path)
