"""Tags beside a corpus, as a user makes them: through the command line, killed and called again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kalign import files
from kalign.data import tags
from kalign.markers import tagging
from tests.conftest import Result, write

Kalign = Callable[..., Result]


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [row for _, row in files.read_parquet(path)]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    write(
        path,
        [
            {"id": f"q{n}", "prompt": f"{n}번째 설날 음식은?" if n % 4 == 0 else f"{n} + {n}?"}
            for n in range(40)
        ],
    )
    return path


def test_a_corpus_gets_one_row_of_tags_a_text_and_stays_as_it_was(kalign_here: Kalign, corpus: Path) -> None:
    before = corpus.read_bytes()
    done = kalign_here("tag", f"data.path={corpus}", "out=tags", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["statuses"] == {"ok": 40}
    assert told["cultural_share"]["value"] == 0.25
    found = rows_of(Path("tags/tags.parquet"))
    assert [row["sample_id"] for row in found] == [f"q{n}" for n in range(40)]
    assert list(found[0]) == list(tags.COLUMNS)
    assert found[0]["culture"] == ["general"]
    assert corpus.read_bytes() == before
    by_text = tags.read(Path("tags"))
    assert by_text[tags.key(" 4번째 설날 음식은?")].culture == ("general",)


@pytest.mark.parametrize("name", ["parts/web-00.parquet", "tags.parquet"])
def test_what_somebody_else_calls_parts_is_neither_tags_nor_removed(
    kalign_here: Kalign, corpus: Path, name: str
) -> None:
    path = Path("work") / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    refused = kalign_here("tag", f"data.path={corpus}", "out=work")
    assert refused.returncode == 2 and f"work holds {name.split('/')[0]}" in refused.stderr
    assert path.read_bytes() == b"mine" and not Path("work/tagging.json").exists()


def test_a_file_or_a_damaged_folder_is_said(kalign_here: Kalign, corpus: Path) -> None:
    refused = kalign_here("tag", f"data.path={corpus}", f"out={corpus}")
    assert refused.returncode == 2 and "is a file; give a folder" in refused.stderr
    Path("tags").mkdir()
    Path("tags/tagging.json").write_text("{", encoding="utf-8")
    damaged = kalign_here("tag", f"data.path={corpus}", "out=tags")
    assert damaged.returncode == 3 and "tags/tagging.json: no JSON" in damaged.stderr


def test_the_same_command_again_changes_nothing_and_another_one_is_refused(
    kalign_here: Kalign, corpus: Path
) -> None:
    kalign_here("tag", f"data.path={corpus}", "out=tags")
    first = Path("tags/tags.parquet").stat().st_mtime_ns
    assert kalign_here("tag", f"data.path={corpus}", "out=tags").returncode == 0
    assert Path("tags/tags.parquet").stat().st_mtime_ns == first
    corpus.write_text(corpus.read_text(encoding="utf-8") + '{"prompt": "x"}\n', encoding="utf-8")
    refused = kalign_here("tag", f"data.path={corpus}", "out=tags")
    assert refused.returncode == 4
    assert "holds the tags of something else: sha256 was" in refused.stderr


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("shards=2.5", "shards=2.5 must be a whole number"),
        ("ray.actors=0", "ray.actors=0 must be a whole number"),
        ("poll_seconds=0", "poll_seconds=0.0 must be above 0"),
    ],
)
def test_a_number_that_cannot_be_is_refused(kalign_here: Kalign, corpus: Path, word: str, said: str) -> None:
    more = ("hydra/launcher=submitit_slurm",) if word.startswith("shards") else ()
    refused = kalign_here("tag", f"data.path={corpus}", "tagger=rules", word, *more)
    assert refused.returncode == 2 and said in refused.stderr


def test_a_text_column_that_is_not_there_is_named(kalign_here: Kalign, corpus: Path) -> None:
    refused = kalign_here("tag", f"data.path={corpus}", "data.columns.text=question")
    assert refused.returncode == 3
    assert "there is no column 'question'; there are id, prompt" in refused.stderr


def test_of_a_conversation_what_comes_before_the_last_answer_is_tagged(
    kalign_here: Kalign, tmp_path: Path
) -> None:
    turns = [{"role": "user", "content": "김치는?"}, {"role": "assistant", "content": "pizza"}]
    write(tmp_path / "chat.jsonl", [{"messages": turns}])
    kalign_here("tag", "data.path=chat.jsonl", "data.columns.text=messages", "out=tags")
    [row] = rows_of(Path("tags/tags.parquet"))
    assert row["text_sha256"] == tags.key("김치는?")


def test_killed_and_called_again_it_ends_with_the_same_tags_without_duplicates(
    kalign_here: Kalign, tmp_path: Path
) -> None:
    with (tmp_path / "many.jsonl").open("w", encoding="utf-8") as lines:
        for n in range(2 * tagging.PART_ROWS + 7):
            lines.write(json.dumps({"prompt": f"Write python code {n} in Seoul"}) + "\n")
    words = ["tag", "data.path=many.jsonl"]
    killed = subprocess.Popen(
        [sys.executable, "-m", "kalign", *words, "out=killed"],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    parts = Path("killed/parts")
    while len(list(parts.glob("0*.parquet"))) < 1:
        assert killed.poll() is None
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert not Path("killed/tags.parquet").exists()
    made = {part: part.stat().st_mtime_ns for part in parts.glob("0*.parquet")}
    (parts / ".000002.parquet.1.partial").write_bytes(b"torn")
    assert made
    for shard in ("0/2", "1/2"):  # the rest by two processes, as two nodes would
        assert kalign_here(*words, "out=killed", f"shard={shard}").returncode == 0
    assert {part: part.stat().st_mtime_ns for part in made} == made
    assert kalign_here(*words, "out=killed").returncode == 0
    found = rows_of(Path("killed/tags.parquet"))
    assert [row["row"] for row in found] == list(range(1, 2 * tagging.PART_ROWS + 8))
    assert len({row["text_sha256"] for row in found}) == len(found)
    assert not parts.exists()


def test_a_share_of_the_rows_is_decided_by_their_numbers(kalign_here: Kalign, corpus: Path) -> None:
    kalign_here("tag", f"data.path={corpus}", "out=half", "share=0.5")
    kalign_here("tag", f"data.path={corpus}", "out=most", "share=0.8")
    half, most = ({row["row"] for row in rows_of(Path(each) / "tags.parquet")} for each in ("half", "most"))
    assert 8 < len(half) < 32
    assert half <= most
