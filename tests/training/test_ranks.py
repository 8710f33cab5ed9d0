"""Two ranks, started by the shipped profile as a user would."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.conftest import Result, history, only_run

pytestmark = pytest.mark.slow


def test_qlora_on_two_ranks_learns_what_one_learns_and_only_the_first_talks_to_weights_and_biases(
    kalign: Callable[..., Result], kalign_here: Callable[..., Result], short: list[str]
) -> None:
    exact = ["adapter=qlora", "adapter.quantization.bnb_4bit_compute_dtype=float32", "adapter.lora_dropout=0"]
    words = [*short, *exact, "evaluation.generations=0"]
    tracked = ["tracker=wandb", "tracker.mode=offline", "tracker.group=a-sweep-of-mine"]
    one = kalign_here("train", *words, "runs_dir=one")
    assert one.returncode == 0, one.stderr[-3000:]
    two = kalign("train", *words, *tracked, "runs_dir=two", "launch=cpu", "ranks=2", WANDB_SILENT="true")
    assert two.returncode == 0, two.stderr[-3000:]
    alone, together = only_run(Path("one")), only_run(Path("two"))
    assert alone.name == together.name
    pace = json.loads((together / "result.json").read_text(encoding="utf-8"))["pace"]
    assert (pace["ranks"], pace["distributed"]) == (2, "MULTI_CPU")
    losses = [[row["loss"] for row in history(run) if "loss" in row] for run in (alone, together)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    adapters = [load_file(run / "adapter/adapter_model.safetensors") for run in (alone, together)]
    for name, weight in adapters[0].items():
        assert (adapters[1][name] - weight).abs().max() < 1e-4, name

    [offline] = Path().rglob("*.wandb")  # one, wherever a second rank would have put its own
    assert offline.is_relative_to(together)
    assert b"a-sweep-of-mine" in offline.read_bytes()
