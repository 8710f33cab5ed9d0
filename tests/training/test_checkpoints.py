import os
from pathlib import Path

import pytest

from kalign.training import checkpoints


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for step in (2, 4, 10):
        made = tmp_path / f"checkpoint-{step}"
        made.mkdir()
        for name in ("adapter_model.safetensors", "optimizer.pt", "trainer_state.json", "training_args.bin"):
            (made / name).write_bytes(os.urandom(64))
        checkpoints.seal(made, world_size=1, fingerprint="this")
    return tmp_path


def test_the_newest_by_step_is_resumed_whatever_the_clock_says(folder: Path) -> None:
    os.utime(folder / "checkpoint-10", (0, 0))
    assert checkpoints.newest(folder, "this") == (folder / "checkpoint-10", [])


def test_a_sealed_checkpoint_holds_no_pickle_of_the_arguments(folder: Path) -> None:
    assert not list(folder.rglob("training_args.bin"))


@pytest.mark.parametrize(
    "fault", ["flip", "truncate", "remove", "no manifest", "torn manifest", "empty folder"]
)
def test_a_damaged_checkpoint_is_passed_over_with_a_sentence(fault: str, folder: Path) -> None:
    newest = folder / "checkpoint-10"
    victim = newest / "optimizer.pt"
    manifest = newest / checkpoints.MANIFEST
    if fault == "flip":
        raw = bytearray(victim.read_bytes())
        raw[5] ^= 1
        victim.write_bytes(raw)
    elif fault == "truncate":
        victim.write_bytes(victim.read_bytes()[:10])
    elif fault == "remove":
        victim.unlink()
    elif fault == "no manifest":
        manifest.unlink()
    elif fault == "torn manifest":
        manifest.write_text(manifest.read_text()[:20])
    else:
        (folder / "checkpoint-999").mkdir()
        newest = folder / "checkpoint-999"
    found, [sentence] = checkpoints.newest(folder, "this")
    assert found == (folder / "checkpoint-10" if fault == "empty folder" else folder / "checkpoint-4")
    assert sentence.startswith(f"{newest} is passed over: ")


def test_what_is_newer_than_the_one_resumed_is_removed(folder: Path) -> None:
    checkpoints.remove_after(folder, folder / "checkpoint-4")
    assert [checkpoints.step(path) for path in checkpoints.listed(folder)] == [2, 4]
    checkpoints.remove_after(folder, None)
    assert checkpoints.listed(folder) == []
