"""Checkpoints that can be trusted: a manifest of hashes is written last, and only a folder that has one is
resumed."""

import json
import shutil
from pathlib import Path
from typing import Any

from accelerate import PartialState
from safetensors.torch import load_file
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from kalign import files
from kalign.config import Recipe
from kalign.errors import IntegrityError
from kalign.runs import Run

WEIGHTS = "adapter_model.safetensors"
MANIFEST = "manifest.json"
UNFINISHED = "checkpoint-is-incomplete.txt"  # transformers writes it, and reads it nowhere


def step(folder: Path) -> int:
    """The optimizer step that a checkpoint folder is named by."""
    return int(folder.name.removeprefix("checkpoint-"))


def listed(checkpoints: Path) -> list[Path]:
    """All checkpoint folders, complete or not, oldest first by their step (never by the clock)."""
    found = [
        path for path in checkpoints.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()
    ]
    return sorted(found, key=step)


def seal(folder: Path, *, world_size: int, fingerprint: str) -> None:
    """Write the manifest: from now on the checkpoint counts.

    Args:
        fingerprint: of all that determines the run, so that no other run's checkpoint is taken for its own.
    """
    # A pickle that can hold secrets, and that nothing reads
    (folder / "training_args.bin").unlink(missing_ok=True)
    content = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST):
        files.flush(path)
        content[path.relative_to(folder).as_posix()] = {
            "sha256": files.sha256(path),
            "bytes": path.stat().st_size,
        }
    made = {"step": step(folder), "world_size": world_size, "fingerprint": fingerprint}
    files.write_json(folder / MANIFEST, {**made, "files": content})


def trained_weights(model: nn.Module) -> int:
    """How many weights learn, over all processes; DeepSpeed leaves no numbers in a weight that it divided."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    return sum(getattr(weight, "ds_numel", weight.numel()) for weight in trained)


def require_whole(folder: Path, trained: int) -> None:
    """Refuse an adapter that was saved in pieces: a divided model gives each process only a part.

    Args:
        trained: how many weights the adapter has, over all processes.

    Raises:
        IntegrityError: some are missing, or are no numbers.
    """
    weights = load_file(folder / WEIGHTS)
    saved = sum(weight.numel() for weight in weights.values())
    if saved != trained:
        raise IntegrityError(
            f"{folder / WEIGHTS} holds {saved:,} of the adapter's {trained:,} weights; no checkpoint was made"
        )
    if bad := [name for name, weight in weights.items() if not weight.isfinite().all()]:
        raise IntegrityError(f"{folder / WEIGHTS} holds no numbers in {bad[0]}; no checkpoint was made")


def fault(folder: Path, fingerprint: str) -> str | None:
    """Why a checkpoint cannot be resumed, in a few words; None if every file is as it was written."""
    try:
        made = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        listed_files = made["files"]
    except (OSError, ValueError, KeyError):
        return "it has no readable manifest, so it was not finished"
    if (folder / UNFINISHED).exists():
        return f"{UNFINISHED} lies in it"
    if made.get("fingerprint") != fingerprint:
        return "another run made it, from another recipe or other inputs"
    for name, noted in listed_files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != noted["bytes"] or files.sha256(path) != noted["sha256"]:
            return f"{name} is not what was written"
    return None


def holds_last_step(folder: Path) -> bool:
    """Whether a checkpoint was made after the last step of its training."""
    state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
    return bool(state["global_step"] >= state["max_steps"])


def newest(checkpoints: Path, fingerprint: str) -> tuple[Path | None, list[str]]:
    """The newest good checkpoint, and a sentence about each one that was passed over."""
    passed_over: list[str] = []
    for folder in reversed(listed(checkpoints)):
        wrong = fault(folder, fingerprint)
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

    def __init__(self, checkpoints: Path, *, keep: int, history: Path, fingerprint: str) -> None:
        self.checkpoints = checkpoints
        self.fingerprint = fingerprint
        self.keep = keep
        self.history = history

    @classmethod
    def of(cls, recipe: Recipe, run: Run) -> "Sealed":
        """For a run whose manifest is written."""
        return cls(
            run.checkpoints,
            keep=recipe.trainer.save_total_limit,
            history=run.history,
            fingerprint=run.read_manifest()["fingerprint"],
        )

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Write the curves, so that whoever watches the run can give it up early."""
        if state.is_world_process_zero:
            files.write_jsonl(self.history, state.log_history)

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **_: Any,
    ) -> None:
        """Write the manifest of the checkpoint that was just saved.

        Raises:
            IntegrityError: the adapter in it is not whole, or a file cannot be read back; none is dropped.
        """
        assert model is not None
        ranks = PartialState()
        ranks.wait_for_everyone()
        if state.is_world_process_zero:
            folder = self.checkpoints / f"checkpoint-{state.global_step}"
            require_whole(folder, trained_weights(model))
            seal(folder, world_size=ranks.num_processes, fingerprint=self.fingerprint)
            if wrong := fault(folder, self.fingerprint):
                raise IntegrityError(f"{folder} was just written, but {wrong}; check the disk")
            files.write_jsonl(self.history, state.log_history)
            for folder in listed(self.checkpoints)[: -self.keep]:
                shutil.rmtree(folder)
        ranks.wait_for_everyone()
