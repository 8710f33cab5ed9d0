"""What a trainer accepts in silence when it goes on, each caught by name: the files of a checkpoint that are
damaged, and a command that would no longer give the same result."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kalign.training import checkpoints
from tests.conftest import Result, only_run, pair, write

pytestmark = pytest.mark.slow
Kalign = Callable[..., Result]
NEWEST = "checkpoint-4"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One finished run, made by the first test that needs it and copied by all."""
    return {"folder": tmp_path_factory.mktemp("trained")}


@pytest.fixture
def run(trained: dict[str, Path], kalign_here: Kalign, short: list[str], pairs_file: Path) -> Path:
    """A run that stopped before its end: with checkpoints 3 and 4, and no result."""
    kept = trained["folder"] / "runs"
    if not kept.exists():
        done = kalign_here("train", *plain(short))
        assert done.returncode == 0, done.stderr
        shutil.copytree("runs", kept)
        shutil.rmtree("runs")
    shutil.copytree(kept, "runs")
    found = only_run(Path("runs"))
    (found / "result.json").unlink()
    return found


def plain(words: list[str]) -> list[str]:
    """Without answers, and with a path of the pairs that every test has."""
    kept = [word for word in words if not word.startswith(("evaluation", "data.path"))]
    return [*kept, "data.path=pairs.jsonl", "evaluation.generations=0", "evaluation.held_out_prompts=false"]


def flip(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


FILES: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "optimizer removed": ("optimizer.pt", Path.unlink, "optimizer.pt is missing"),
    "scheduler removed": ("scheduler.pt", Path.unlink, "scheduler.pt is missing"),
    "random state removed": ("rng_state.pth", Path.unlink, "rng_state.pth is missing"),
    "state removed": ("trainer_state.json", Path.unlink, "trainer_state.json is missing"),
    "state truncated": ("trainer_state.json", halve, "trainer_state.json is not what was written"),
    "adapter truncated": (checkpoints.WEIGHTS, halve, f"{checkpoints.WEIGHTS} is not what was written"),
    "adapter header flipped": (
        checkpoints.WEIGHTS,
        lambda path: flip(path, 3),
        f"{checkpoints.WEIGHTS} is not what was written",
    ),
    "adapter removed": (checkpoints.WEIGHTS, Path.unlink, f"{checkpoints.WEIGHTS} is missing"),
    "adapter payload flipped": (
        checkpoints.WEIGHTS,
        lambda path: flip(path, -1),
        f"{checkpoints.WEIGHTS} is not what was written",
    ),
    "optimizer flipped": (
        "optimizer.pt",
        lambda path: flip(path, 99),
        "optimizer.pt is not what was written",
    ),
    "optimizer truncated": ("optimizer.pt", halve, "optimizer.pt is not what was written"),
    "optimizer empty": ("optimizer.pt", lambda path: os.truncate(path, 0), "optimizer.pt is not what was"),
    "marked incomplete": (checkpoints.UNFINISHED, Path.touch, f"{checkpoints.UNFINISHED} lies in it"),
}


@pytest.mark.parametrize("fault", FILES)
def test_a_damaged_file_is_named_and_the_checkpoint_before_is_taken(fault: str, run: Path) -> None:
    name, damage, said = FILES[fault]
    mark = json.loads((run / "manifest.json").read_text(encoding="utf-8"))["fingerprint"]
    assert checkpoints.newest(run / "checkpoints", mark) == (run / "checkpoints" / NEWEST, [])
    damage(run / "checkpoints" / NEWEST / name)
    found, [sentence] = checkpoints.newest(run / "checkpoints", mark)
    assert found == run / "checkpoints/checkpoint-3"
    assert said in sentence


def test_an_empty_folder_of_a_later_step_is_passed_over(run: Path) -> None:
    mark = json.loads((run / "manifest.json").read_text(encoding="utf-8"))["fingerprint"]
    (run / "checkpoints/checkpoint-6").mkdir()
    found, [sentence] = checkpoints.newest(run / "checkpoints", mark)
    assert found == run / "checkpoints" / NEWEST
    assert "it has no readable manifest" in sentence


def test_a_checkpoint_of_another_run_is_passed_over(run: Path) -> None:
    found, sentences = checkpoints.newest(run / "checkpoints", "another")
    assert found is None
    assert all("another run made it" in sentence for sentence in sentences)


SETTINGS = {
    "learning rate": ("trainer.learning_rate=5e-3", "trainer.learning_rate was 0.002, is 0.005"),
    "batch": ("trainer.per_device_train_batch_size=8", "trainer.per_device_train_batch_size was 4, is 8"),
    "beta": ("loss.beta=0.5", "loss.beta was 0.1, is 0.5"),
    "steps": ("trainer.max_steps=6", "trainer.max_steps was 4, is 6"),
    "seed": ("trainer.seed=7", "trainer.seed was 42, is 7"),
    "adapter": ("adapter.r=4", "adapter.r was 16, is 4"),
    "optimizer": ("trainer.optim=adamw_torch_fused", "trainer.optim was adamw_torch, is adamw_torch_fused"),
    "revision": ("model.revision=main", "model.revision was null, is main"),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_another_setting_trains_elsewhere_and_never_goes_on_from_this_run(
    setting: str, run: Path, kalign_here: Kalign, short: list[str]
) -> None:
    """Its folder has another name; a folder that is renamed to it is refused with the difference."""
    word, said = SETTINGS[setting]
    from kalign import runs
    from kalign.config import compose

    recipe = compose.load([*plain(short), word])
    other = runs.named(Path("runs"), recipe.name, recipe.determining()).path
    assert other != run
    run.rename(other)
    refused = kalign_here("train", *plain(short), word)
    assert refused.returncode == 4, refused.stderr[-2000:]
    assert said in refused.stderr


DATA = {"content": [pair(number) for number in range(1, 41)], "rows": [pair(number) for number in range(8)]}


@pytest.mark.parametrize("change", DATA)
def test_other_data_are_refused(
    change: str, run: Path, kalign_here: Kalign, short: list[str], pairs_file: Path
) -> None:
    write(pairs_file, DATA[change])
    refused = kalign_here("train", *plain(short))
    assert refused.returncode == 4, refused.stderr[-2000:]
    assert "was made from other inputs: data was" in refused.stderr
