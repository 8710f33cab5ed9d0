"""Trainings that a cluster takes its machine from: real signals at exact points, one and two processes."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from kalign.training import checkpoints
from tests.conftest import history, only_run
from tests.training.conftest import Jobs

pytestmark = pytest.mark.slow


def job(words: list[str], folder: str, ranks: int, *hits: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"words": [*words, f"runs_dir={folder}"], "ranks": ranks, "hits": list(hits), **more}


def weights(folder: str) -> str:
    path = only_run(Path(folder)) / "adapter/adapter_model.safetensors"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def curves(folder: str) -> list[dict[str, Any]]:
    """The logs of a run without what a clock measures, or what sums up one call."""
    timed = ("runtime", "per_second")
    rows = [row for row in history(only_run(Path(folder))) if "train_loss" not in row]
    return [{key: value for key, value in row.items() if not key.endswith(timed)} for row in rows]


@pytest.fixture
def tiny(short: list[str]) -> list[str]:
    """Three steps; curves are logged every two, so that a checkpoint after one falls between logs."""
    kept = [word for word in short if not word.startswith(("trainer.max_steps", "trainer.logging", "eval"))]
    bare = ["evaluation.generations=0", "evaluation.held_out_prompts=false"]
    return [*kept, *bare, "trainer.max_steps=3", "trainer.logging_steps=2", "trainer.save_steps=2"]


STEP = {"point": ["step", 1], "signal": "SIGTERM"}
MOMENTS: dict[str, list[dict[str, Any]]] = {
    "in a step": [STEP],
    "in the last step": [{"point": ["step", 3], "signal": "SIGTERM"}],
    "Slurm's warning": [{"point": ["step", 1], "signal": "SIGUSR1"}],
    "during a save": [{"point": ["file", 3], "signal": "SIGTERM"}],
    "before the first step": [{"point": ["start", 0], "signal": "SIGTERM"}],
    "twice": [STEP, {"point": ["file", 3], "signal": "SIGTERM"}],
}


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_signal_costs_nothing_but_time(ranks: int, tiny: list[str], jobs: Jobs) -> None:
    """Code 75 whenever it comes, then the same weights and curves, bit for bit."""
    moments = dict(list(MOMENTS.items())[::ranks])  # all for one process, half for two
    wanted = [job(tiny, "whole", ranks)]
    for number, hits in enumerate(moments.values()):
        wanted += [job(tiny, f"hit{number}", ranks, *hits), job(tiny, f"hit{number}", ranks)]
    whole, *rest = jobs(*wanted)
    assert whole["codes"] == [0] * ranks, whole["said"]
    for number, moment in enumerate(moments):
        hit, again = rest[2 * number : 2 * number + 2]
        assert 75 in hit["codes"], (moment, hit["said"])
        if moment != "before the first step":
            assert hit["codes"] == [75] * ranks, (moment, hit["said"])
        assert again["codes"] == [0] * ranks, (moment, again["said"])
        assert weights(f"hit{number}") == weights("whole"), moment
        assert curves(f"hit{number}") == curves("whole"), moment
        pace = json.loads((only_run(Path(f"hit{number}")) / "result.json").read_text(encoding="utf-8"))[
            "pace"
        ]
        assert (pace["ranks"], pace["distributed"]) == (ranks, "NO" if ranks == 1 else "MULTI_CPU")


@pytest.mark.parametrize("signal", ["SIGKILL", "SIGSTOP"])
def test_a_process_that_dies_or_stands_still_ends_the_others_and_costs_nothing(
    signal: str, tiny: list[str], jobs: Jobs
) -> None:
    words = [*tiny, "trainer.save_steps=1", "trainer.ddp_timeout=8"]
    lost = {"point": ["step", 2], "signal": signal, "rank": 1}
    whole, hit, again = jobs(
        job(words, "whole", 2),
        job(words, "hit", 2, lost),
        job([*words[:-1], "trainer.ddp_timeout=60"], "hit", 2),
    )
    assert whole["codes"] == again["codes"] == [0, 0], (whole["said"], again["said"])
    assert (hit["codes"][0], hit["codes"][1]) == (75, -9), hit["said"]
    assert "another process of this training ended, or stood still" in hit["said"][0]
    assert weights("hit") == weights("whole")


def words_for_kills(words: list[str]) -> list[str]:
    """Two steps, a checkpoint after each, nothing held out: what is left takes a second."""
    kept = [word for word in words if not word.startswith(("trainer.max_steps", "trainer.save_steps"))]
    bare = ["trainer.max_steps=2", "trainer.save_steps=1", "data.eval_share=0", "trainer.eval_strategy=no"]
    return [*kept, *bare, "trainer.save_total_limit=1"]


def names_and_sizes(run: Path) -> list[tuple[str, int]]:
    """What is in the checkpoints of a run."""
    found = sorted((run / "checkpoints").rglob("*"))
    return [(str(path.relative_to(run)), path.stat().st_size if path.is_file() else -1) for path in found]


def assert_a_good_checkpoint(run: Path, where: str) -> None:
    mark = json.loads((run / "manifest.json").read_text(encoding="utf-8"))["fingerprint"]
    found, _ = checkpoints.newest(run / "checkpoints", mark)
    assert found is not None, where


@pytest.mark.parametrize("ranks", [1, 2])
def test_killed_at_any_file_of_a_save_the_weights_are_the_same(
    ranks: int, tiny: list[str], jobs: Jobs
) -> None:
    """The second save is left as it was before, between and after all that any rank does to its files,
    removals too; every state that differs goes on. Three times the process is really killed there."""
    words = words_for_kills(tiny)
    second = {"since": "checkpoint-2"}
    [whole] = jobs(job(words, "whole", ranks, copies="copies", **second))
    assert whole["codes"] == [0] * ranks, whole["said"]
    left = {str(names_and_sizes(only_run(copy))): copy for copy in Path("copies").iterdir()}
    assert len(list(Path("copies").iterdir())) >= whole["files"] > 20

    points = range(1, whole["files"] + 1, whole["files"] // 2)
    kills = [{"point": ["file", point], "signal": "SIGKILL"} for point in points]
    killed = jobs(
        *(job(words, f"kill{point}", ranks, hit, **second) for point, hit in zip(points, kills, strict=True))
    )
    for point, hit in zip(points, killed, strict=True):
        assert hit["codes"][0] == -9, (point, hit["said"])
        if ranks == 1:  # of two, the other is not where it was
            run, copy = only_run(Path(f"kill{point}")), only_run(Path(f"copies/0-{point}"))
            assert [name for name, _ in names_and_sizes(run)] == [name for name, _ in names_and_sizes(copy)]
    folders = [*map(str, left.values()), *(f"kill{point}" for point in points)]
    for folder in folders:
        assert_a_good_checkpoint(only_run(Path(folder)), folder)
    for folder, again in zip(folders, jobs(*(job(words, at, ranks) for at in folders)), strict=True):
        assert again["codes"] == [0] * ranks, (folder, again["said"])
        assert weights(folder) == weights("whole"), folder
