"""Profiles that divide the model, on two processes with gloo: all that a GPU has no part in.

The profiles themselves refuse a machine without GPUs; `pytest -m gpu` starts them as a user does.
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
from tests.training.test_preemption import STEP, curves, job

PROFILES = ["fsdp2", "zero2", "zero3"]
COMPARED = {"loss", "rewards/margins", "grad_norm", "num_tokens", "eval_loss", "eval_rewards/margins"}


@pytest.mark.slow
@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_that_divides_learns_scores_saves_and_goes_on_like_one_process(
    profile: str, short: list[str], jobs: Jobs
) -> None:
    words = [*short, "adapter.lora_dropout=0"]
    divided = {"main": "tests.training.on_cpus"}
    done = jobs(
        job(words, "one", 1),
        job([profile, *words], "two", 2, **divided),
        job([profile, *words], "hit", 2, STEP, **divided),
        job([profile, *words], "hit", 2, **divided),
        job([profile, *words, "loss.beta=1e38"], "overflow", 2, **divided),
    )
    assert [one["codes"] for one in done] == [[0], [0, 0], [75, 75], [0, 0], [6, 6]], done
    assert "Warning" not in done[1]["said"][0]
    assert "the gradients' norm is" in done[-1]["said"][0]
    assert not list(Path("overflow").rglob("checkpoint-*"))
    one, two, hit = (only_run(Path(name)) for name in ("one", "two", "hit"))
    pace = json.loads((two / "result.json").read_text(encoding="utf-8"))["pace"]
    assert (pace["ranks"], pace["distributed"]) == (2, "FSDP" if profile == "fsdp2" else "DEEPSPEED")
    for rank in (0, 1):
        held = json.loads(Path(f"held-{rank}.json").read_text(encoding="utf-8"))
        assert held["held"] < 0.6 * held["whole"]
    compared = 0
    for ours, theirs in zip(curves("two"), curves("one"), strict=True):
        for key in theirs.keys() & COMPARED:
            assert ours[key] == pytest.approx(theirs[key], rel=1e-4, abs=1e-5), (key, theirs["step"])
            compared += 1
    assert compared == 4 * 4 + 2 * 2
    results = [json.loads((run / "result.json").read_text(encoding="utf-8")) for run in (one, two)]
    assert results[1]["answers"] == results[0]["answers"]
    saved, whole, again = (load_file(run / "adapter" / checkpoints.WEIGHTS) for run in (two, one, hit))
    assert saved.keys() == whole.keys() == again.keys()
    assert any(weight.abs().max() > 0 for name, weight in whole.items() if "lora_B" in name)
    for name, weight in whole.items():
        assert (saved[name] - weight).abs().max() < 1e-5, name
        assert (again[name] - saved[name]).abs().max() == 0, name


@pytest.mark.gpu
@pytest.mark.parametrize("profile", PROFILES)
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
