"""An arm that needs an environment of its own: LLaMA-Factory, asked through files by its own Python."""

import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from kalign.config.model import PROJECTIONS
from kalign.training.benchmark.workloads import Workload
from kalign.training.trainer import PairTrainer

NAME = "llamafactory"
ABOUT = "LLaMA-Factory's own step, in its own environment"
SCRIPT = Path(__file__).with_name("llamafactory_arm.py")
ABSENT = (
    "LLaMA-Factory's pins (0.9.5: trl<=0.24, transformers<=5.6) exclude kalign's; install it into an "
    "environment of its own and give llamafactory=PATH/bin/python"
)


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the other environment measured."""

    logps: Sequence[float]  # of the first micro-batch's answers: all chosen ones, then all rejected ones
    executed: int
    peak_bytes: int
    loss: float
    seconds: Sequence[float]
    versions: dict[str, str]


def why_not(python: str | None) -> str | None:
    """Why LLaMA-Factory cannot be timed with that Python, in one line; None if it can."""
    if python is None:
        return ABSENT
    try:
        tried = subprocess.run(
            [python, "-c", "from llamafactory.train.dpo.trainer import CustomDPOTrainer"],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as wrong:
        return f"llamafactory={python} cannot be run ({wrong.strerror})"
    if tried.returncode:
        said = tried.stderr.strip().splitlines() or ["no word about it"]
        return f"LLaMA-Factory cannot be imported by {python}: {said[-1]}"
    return None


class Elsewhere:
    """LLaMA-Factory on one workload, with the weights and the adapter of another arm.

    Args:
        like: a trainer of that arm.
    """

    def __init__(self, python: str, workload: Workload, like: PairTrainer) -> None:
        self.python = python
        self.folder = tempfile.TemporaryDirectory()
        weights = Path(self.folder.name) / "weights.safetensors"
        state = {name: value.detach().cpu().contiguous() for name, value in like.model.state_dict().items()}
        save_file(state, weights)
        self.asked: dict[str, Any] = {
            "device": like.args.device.type,
            "model": workload.settings(),
            "weights": str(weights),
            "r": 16,
            "target_modules": list(PROJECTIONS),
            "micro_batches": workload.steps()[0],
        }

    def __call__(self, *, steps: int, warm_up: int) -> Told:
        """Start the other Python, which takes so many steps and ends.

        Raises:
            RuntimeError: it fails.
        """
        asked, told = (Path(self.folder.name) / name for name in ("asked.json", "told.json"))
        asked.write_text(json.dumps({**self.asked, "steps": steps, "warm_up": warm_up}), encoding="utf-8")
        done = subprocess.run(
            [self.python, "-P", str(SCRIPT), str(asked), str(told)],  # -P: nothing here is its module
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"LLaMA-Factory's step failed:\n{done.stderr[-3000:]}")
        return Told(**json.loads(told.read_text(encoding="utf-8")))


def furthest(told: Told, known: torch.Tensor, *, share: float, nats: float) -> tuple[float, bool]:
    """How far its log-probs are from those of the first arm, in nats a token at most, and whether that is
    rounding.

    Args:
        known: the first arm's log-probs in TRL's shape.
    """
    wanted, tokens = known.sum(dim=1), (known != 0).sum(dim=1)
    apart = (torch.tensor(told.logps) - wanted).abs()
    return float((apart / tokens).max()), bool((apart <= share * wanted.abs() + nats * tokens).all())
