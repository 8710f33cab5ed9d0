"""How fast an earlier training of the same kind was on this machine's run folders."""

import json
from pathlib import Path
from typing import Any

from kalign.config import Recipe

# What has to be equal, for a measured pace to say something about this recipe.
SAME = (
    ("model", "repo"),
    ("model", "twin"),
    ("model", "dtype"),
    ("adapter", "quantization", "load_in_4bit"),
    ("trainer", "bf16"),
    ("trainer", "gradient_checkpointing"),
    ("trainer", "per_device_train_batch_size"),
    ("trainer", "tokens_per_micro_batch"),
    ("data", "path"),
    ("data", "max_length"),
)


def last(recipe: Recipe, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The pace of the newest finished run with the same model, data and batches: pairs a second and rank,
    device, and peak memory; None where there is none."""
    finished = sorted(recipe.runs_path().glob("*/result.json"), key=lambda path: path.stat().st_mtime)
    for path in reversed(finished):
        pace = _pace(path, settings)
        if pace is not None:
            return pace
    return None


def _pace(result: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    try:
        made_from = json.loads((result.parent / "manifest.json").read_text(encoding="utf-8"))["recipe"]
        pace = json.loads(result.read_text(encoding="utf-8"))["pace"]
        if any(_at(made_from, key) != _at(settings, key) for key in SAME):
            return None
        per_rank = made_from["trainer"]["pairs_per_step"] / pace["ranks"] / pace["seconds_per_step"]
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
        return None  # not finished, damaged, or without a measured step: no probe
    return {
        "run": result.parent.name,
        "device": pace["device"],
        "pairs_per_second_and_rank": round(per_rank, 4),
        "peak_gib": pace["peak_gib"],
    }


def _at(settings: dict[str, Any], key: tuple[str, ...]) -> Any:
    for part in key:
        settings = settings[part]
    return settings
