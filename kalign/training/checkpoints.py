"""Checkpoints that can be trusted: a manifest of hashes is written last, and only a folder that has one is
resumed."""

import json
import shutil
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from kalign import files

MANIFEST = "manifest.json"


def step(folder: Path) -> int:
    """The optimizer step that a checkpoint folder is named by."""
    return int(folder.name.removeprefix("checkpoint-"))


def listed(checkpoints: Path) -> list[Path]:
    """All checkpoint folders, complete or not, oldest first by their step (never by the clock)."""
    found = [
        path for path in checkpoints.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()
    ]
    return sorted(found, key=step)


def seal(folder: Path, *, world_size: int) -> None:
    """Write the manifest: from now on the checkpoint counts."""
    # A pickle that can hold secrets, and that nothing reads
    (folder / "training_args.bin").unlink(missing_ok=True)
    content = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST):
        files.flush(path)
        content[path.relative_to(folder).as_posix()] = {
            "sha256": files.sha256(path),
            "bytes": path.stat().st_size,
        }
    files.write_json(folder / MANIFEST, {"step": step(folder), "world_size": world_size, "files": content})


def fault(folder: Path) -> str | None:
    """Why a checkpoint cannot be resumed, in a few words; None if every file is as it was written."""
    try:
        listed_files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError):
        return "it has no readable manifest, so it was not finished"
    for name, noted in listed_files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != noted["bytes"] or files.sha256(path) != noted["sha256"]:
            return f"{name} is not what was written"
    return None


def newest(checkpoints: Path) -> tuple[Path | None, list[str]]:
    """The newest good checkpoint, and a sentence about each one that was passed over."""
    passed_over: list[str] = []
    for folder in reversed(listed(checkpoints)):
        wrong = fault(folder)
        if wrong is None:
            return folder, passed_over
        passed_over.append(f"{folder} is passed over: {wrong}")
    return None, passed_over


def remove_after(checkpoints: Path, kept: Path | None) -> None:
    """Remove what is newer than the checkpoint that is resumed: it is incomplete or damaged, and made
    again."""
    for folder in listed(checkpoints):
        if kept is None or step(folder) > step(kept):
            shutil.rmtree(folder)


class Sealed(TrainerCallback):
    """Seals each checkpoint once every rank has written its part, and only then drops the oldest."""

    def __init__(self, checkpoints: Path, *, keep: int, history: Path) -> None:
        self.checkpoints = checkpoints
        self.keep = keep
        self.history = history

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Write the manifest of the checkpoint that was just saved."""
        ranks = PartialState()
        ranks.wait_for_everyone()
        if state.is_world_process_zero:
            seal(self.checkpoints / f"checkpoint-{state.global_step}", world_size=ranks.num_processes)
            files.write_jsonl(self.history, state.log_history)
            for folder in listed(self.checkpoints)[: -self.keep]:
                shutil.rmtree(folder)
        ranks.wait_for_everyone()
