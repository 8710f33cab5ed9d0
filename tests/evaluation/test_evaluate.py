"""Evaluations from end to end on a tiny model: a gain is found, nothing is not, a killed one goes on."""

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
from kalign.evaluation import scores
from tests.conftest import Result, write
from tests.evaluation.conftest import Trained, words

Evaluated = Callable[[str], Path]


def result(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "eval.json").read_text(encoding="utf-8")))


def claim(folder: Path) -> dict[str, Any]:
    [found] = [one for one in result(folder)["comparison"]["changes"] if one["claim"]]
    return dict(found)


def test_a_model_that_learned_to_refuse_is_found_better_and_its_price_is_shown(evaluated: Evaluated) -> None:
    folder = evaluated("refusing")
    found = claim(folder)
    assert (found["verdict"], found["robust"]) == ("better", True)
    assert found["difference"]["low"] > 0.05
    assert found["p_value"] < 0.01
    assert found["before"]["value"] < 0.1 < found["after"]["value"]
    [answered] = [one for one in result(folder)["comparison"]["changes"] if one["outcome"] == "answered"]
    assert answered["retained"]["margin"] == 0.05
    assert answered["retained"]["verdict"] != "kept"  # it refuses benign prompts too
    rows = scores.read(folder / "scores.parquet")
    assert len(rows) == 2 * 80
    assert {row.category for row in rows} == set("ABCDEFGHIJKL")
    assert any(one["exists"] for row in rows for one in row.cited if row.model == "model")


def test_a_model_that_learned_nothing_is_not_found_better(evaluated: Evaluated) -> None:
    found = claim(evaluated("unchanged"))
    assert (found["verdict"], found["robust"]) == ("not shown", False)


def test_base_and_model_are_asked_the_same_prompts_by_hash(evaluated: Evaluated) -> None:
    folder = evaluated("refusing")
    asked = [
        [
            (row["id"], row["sha256"])
            for number, row in files.read_jsonl(folder / "responses" / f"{name}.jsonl")
            if number > 1
        ]
        for name in ("base", "model")
    ]
    assert asked[0] == asked[1]
    assert len(set(asked[0])) == 80


def test_what_was_asked_for_once_is_not_asked_for_again(
    trained: Trained,
    evaluated: Evaluated,
    kalign_here: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from kalign.models import answers

    folder = evaluated("refusing")
    before = (folder / "responses/model.jsonl").read_bytes()
    monkeypatch.setattr(answers, "greedy", None)  # any call would fail
    done = kalign_here("eval", *words(trained, trained.refusing, folder), "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["comparison"]["prompts"] == 80
    assert (folder / "responses/model.jsonl").read_bytes() == before


@pytest.mark.parametrize("lost_bytes", [1, 700, 9000])
def test_a_file_of_answers_cut_off_anywhere_ends_as_the_same_bytes(
    trained: Trained,
    evaluated: Evaluated,
    kalign_here: Callable[..., Result],
    lost_bytes: int,
) -> None:
    folder = evaluated("refusing")
    answers = folder / "responses/model.jsonl"
    whole = answers.read_bytes()
    answers.write_bytes(whole[:-lost_bytes])
    assert kalign_here("eval", *words(trained, trained.refusing, folder)).returncode == 0
    assert answers.read_bytes() == whole


@pytest.mark.slow
def test_an_evaluation_that_is_killed_goes_on_to_the_same_files(
    trained: Trained, evaluated: Evaluated
) -> None:
    whole = evaluated("refusing")
    out = trained.folder / "killed"
    command = [sys.executable, "-m", "kalign", "eval", *words(trained, trained.refusing, out)]
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    growing = out / "responses/base.jsonl"
    while not growing.exists() or growing.stat().st_size < 3000:
        assert started.poll() is None
        time.sleep(0.05)
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    assert not (out / "eval.json").exists()
    subprocess.run(command, check=True, capture_output=True)
    for name in ("base", "model"):
        path = Path("responses") / f"{name}.jsonl"
        assert (out / path).read_bytes() == (whole / path).read_bytes()
    assert scores.read(out / "scores.parquet") == scores.read(whole / "scores.parquet")


def test_a_file_of_prompts_is_a_suite_by_itself(tmp_path: Path, kalign_here: Callable[..., Result]) -> None:
    write(tmp_path / "own.jsonl", [{"prompt": f"{number}번 문 여는 법"} for number in range(3)])
    done = kalign_here("eval", "suite=own.jsonl", "model=bundled:tiny", "max_new_tokens=4", "--json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["models"]["model"]["sets"][0]["prompts"] == 3
    assert found["comparison"] is None
    assert "3 prompts" in done.stderr
