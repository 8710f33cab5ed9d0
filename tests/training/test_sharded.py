"""What FSDP2 does to a training, by torch's own `fully_shard` on two processes with gloo.

No GPU is needed; Accelerate's FSDP takes no part, because it drops its settings on a CPU without a word. The
profiles themselves are for machines with GPUs (`pytest -m gpu`).
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from kalign import files
from kalign.training import checkpoints
from tests.conftest import Result, only_run
from tests.training.conftest import Jobs
from tests.training.test_preemption import job

WORDS = ["adapter.lora_dropout=0", "evaluation.generations=2"]


@pytest.mark.slow
def test_a_divided_model_learns_is_scored_and_saved_as_a_whole_one(short: list[str], jobs: Jobs) -> None:
    words = [*short, *WORDS]
    done = jobs(
        job(words, "whole", 1, main="tests.training.sharded"),
        job(words, "divided", 2, main="tests.training.sharded"),
    )
    assert [one["codes"] for one in done] == [[0], [0, 0]], done
    whole, divided = only_run(Path("whole")), only_run(Path("divided"))
    alone, *together = (
        json.loads(path.read_text(encoding="utf-8"))
        for path in (whole / "told-0.json", divided / "told-0.json", divided / "told-1.json")
    )
    assert (alone["ranks"], alone["weights"]) == (1, "Parameter")
    for rank in together:
        assert (rank["ranks"], rank["weights"]) == (2, "DTensor")
        assert rank["losses"] == pytest.approx(alone["losses"], abs=1e-5)
        for look, same in zip(rank["looks"], alone["looks"], strict=True):
            assert len(look[0]) > 0
            assert look[0] == pytest.approx(same[0], abs=1e-3)
            assert look[1] == pytest.approx(same[1], abs=1e-3)
            assert look[2] == same[2]
    assert alone["looks"][0][:2] != alone["looks"][1][:2]  # the adapter did something
    saved = load_file(whole / "adapter" / checkpoints.WEIGHTS)
    assert any(weight.abs().max() > 0 for name, weight in saved.items() if "lora_B" in name)
    for folder in ("adapter", "checkpoint"):
        weights = load_file(divided / folder / checkpoints.WEIGHTS)
        assert weights.keys() == saved.keys()
        for name, weight in saved.items():
            assert (weights[name] - weight).abs().max() < 1e-5, name


@pytest.mark.gpu
@pytest.mark.parametrize("profile", ["fsdp2", "zero2", "zero3"])
def test_a_profile_that_divides_learns_what_one_gpu_learns(
    profile: str, short: list[str], kalign: Callable[..., Result]
) -> None:
    import torch

    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    if profile != "fsdp2":
        pytest.importorskip("deepspeed")
    data = next(word for word in short if word.startswith("data.path="))
    words = ["recipe=qwen", "model.twin=true", "adapter=lora", data, "trainer.pairs_per_step=4"]
    words += ["adapter.lora_dropout=0", "trainer.max_steps=4", "trainer.save_steps=2", "trainer.bf16=false"]
    words += ["model.dtype=float32", "evaluation.held_out_prompts=false"]
    one = kalign("train", *words, "launch=single", "runs_dir=one", CUDA_VISIBLE_DEVICES="0")
    assert one.returncode == 0, one.stderr[-3000:]
    two = kalign("train", *words, f"launch={profile}", "ranks=2", "runs_dir=two")
    assert two.returncode == 0, two.stderr[-3000:]
    alone, together = only_run(Path("one")), only_run(Path("two"))
    results = [json.loads((run / "result.json").read_text(encoding="utf-8")) for run in (alone, together)]
    pace = results[1]["pace"]
    assert (pace["ranks"], pace["distributed"]) == (2, "FSDP" if profile == "fsdp2" else "DEEPSPEED")
    margins = [result["held_out"]["reward_margin"]["after"]["value"] for result in results]
    assert margins[1] == pytest.approx(margins[0], abs=1e-3)
    adapters = [load_file(run / "adapter" / checkpoints.WEIGHTS) for run in (alone, together)]
    assert adapters[0].keys() == adapters[1].keys()
    for name, weight in adapters[0].items():
        assert (adapters[1][name] - weight).abs().max() < 1e-4, name

    digest = files.sha256(together / "adapter" / checkpoints.WEIGHTS)
    (together / "result.json").unlink()  # all steps are made: only the looks are left
    again = kalign("train", *words, f"launch={profile}", "ranks=2", "runs_dir=two")
    assert again.returncode == 0, again.stderr[-3000:]
    assert files.sha256(together / "adapter" / checkpoints.WEIGHTS) == digest
