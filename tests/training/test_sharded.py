"""What FSDP2 would do to the model, by torch's own `fully_shard` on two processes with gloo.

No GPU is needed; Accelerate takes no part, because it drops its FSDP settings on a CPU without a word."""

import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from kalign.training import checkpoints
from tests.conftest import ROOT

pytestmark = pytest.mark.slow


def test_a_divided_model_learns_and_saves_the_adapter_of_a_whole_one(
    small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for ranks, out in ((1, "whole"), (2, "divided")):
        done = subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
            + ["-m", "tests.training.sharded", str(small_model), out],
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert f"ranks {ranks} loss" in done.stdout
    whole, divided = (load_file(Path(out) / checkpoints.WEIGHTS) for out in ("whole", "divided"))
    assert whole.keys() == divided.keys()
    assert any(weight.abs().max() > 0 for name, weight in divided.items() if "lora_B" in name)
    for name, weight in whole.items():
        assert (divided[name] - weight).abs().max() < 1e-5, name
