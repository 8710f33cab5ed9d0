import shlex
import sys
from collections.abc import Callable

import pytest
import yaml

from kalign.config import launch
from tests.conftest import ROOT, Result

Kalign = Callable[..., Result]
NO_ANSWERS = ["evaluation.generations=0", "evaluation.held_out_prompts=false"]


@pytest.mark.parametrize("name", launch.names())
def test_a_profile_says_where_and_never_what_is_computed(name: str) -> None:
    said = yaml.safe_load((ROOT / "launch" / f"{name}.yaml").read_text(encoding="utf-8"))
    assert said["mixed_precision"] == "no"
    assert said["dynamo_config"] == {"dynamo_backend": "NO"}
    for key in ("gradient_accumulation_steps", "gradient_clipping"):
        assert said.get("deepspeed_config", {}).get(key, "auto") == "auto"
    assert not {"learning_rate", "bf16", "seed"} & set(said)


def test_the_line_is_printed_and_is_one_that_a_user_could_type(kalign_here: Kalign) -> None:
    shown = kalign_here("train", "recipe=tiny", "loss.beta=0.3", "launch=ddp", "ranks=2", "--dry-run")
    assert shown.returncode == 0
    words = shlex.split(shown.stderr)
    assert words[:2] == ["accelerate", "launch"]
    assert words[words.index("--num_processes") + 1] == "2"
    assert words[-4:] == ["kalign", "train", "recipe=tiny", "loss.beta=0.3"]


REFUSED = {
    "launch=dpd": "did you mean ddp?",
    "launch=fsdp2 adapter=qlora": "use adapter=lora, or launch=ddp",
    "launch=zero3 adapter=qlora": "use adapter=lora, or launch=ddp",
    "ranks=2": "give launch=ddp too",
    "launch=single ranks=2": "use launch=ddp",
    "launch=ddp ranks=0": "must be at least 1",
    "launch=ddp ranks=3": "pairs_per_step=16 is no multiple of 24",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_work_is_refused_before_anything_starts_with_what_does(
    words: str, kalign_here: Kalign
) -> None:
    refused = kalign_here("train", "recipe=tiny", *words.split(), "--dry-run")
    assert refused.returncode == 2
    assert REFUSED[words] in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


MANY = {
    "loss.beta=0.1,x": "loss.beta: Value 'x'",
    "trainer.pairs_per_step=16,7": "use 8 or 16 (in the combination recipe=tiny trainer.pairs_per_step=7)",
    "loss.bta=0.1,0.2": "did you mean loss.beta?",
    "loss.beta=0.1,0.2 launch=ddp ranks=3": "pairs_per_step=16 is no multiple of 24",
}


@pytest.mark.parametrize("words", MANY)
def test_one_wrong_combination_of_many_is_refused_before_any_starts(words: str, kalign_here: Kalign) -> None:
    refused = kalign_here("train", "-m", "recipe=tiny", *words.split())
    assert refused.returncode == 2
    assert MANY[words] in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_a_dry_run_starts_nothing_with_or_without_a_launch(kalign_here: Kalign) -> None:
    shown = kalign_here("train", "-m", "recipe=tiny", "loss.beta=0.1,0.2", "launch=cpu", "--dry-run")
    lines = [f"kalign: kalign train recipe=tiny loss.beta={beta} launch=cpu" for beta in ("0.1", "0.2")]
    assert (shown.returncode, shown.stderr.splitlines()) == (0, lines)
    refused = kalign_here("train", "recipe=tiny", "--dry-run")
    assert (refused.returncode, "launch= is not given" in refused.stderr) == (2, True)


@pytest.mark.parametrize("name", ["fsdp2", "zero2", "zero3"])
def test_the_line_of_a_divided_model_is_printed_and_only_run_where_it_can_be(
    name: str, kalign_here: Kalign, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["train", "recipe=tiny", "adapter=lora", "trainer.pairs_per_step=128", f"launch={name}"]
    shown = kalign_here(*words, "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert f"launch/{name}.yaml --num_processes 2" in shown.stderr
    refused = kalign_here(*words, "ranks=16")  # more devices than a machine has; the step still divides
    assert refused.returncode == 2
    assert "divides the model among 16 accelerators, and this machine has" in refused.stderr
    monkeypatch.setitem(sys.modules, "deepspeed", None)  # as where it is not installed
    refused = kalign_here(*words, "ranks=16")
    assert ("pip install 'kalign[deepspeed]'" in refused.stderr) == name.startswith("zero")


def test_other_methods_are_not_divided(kalign_here: Kalign) -> None:
    refused = kalign_here(
        "train", "recipe=tiny", "method=sft", "data=associations", "launch=fsdp2", "--dry-run"
    )
    assert (refused.returncode, "use launch=ddp" in refused.stderr) == (2, True), refused.stderr


def test_a_launch_inside_a_launch_is_refused(kalign_here: Kalign) -> None:
    refused = kalign_here("train", "recipe=tiny", "launch=ddp", WORLD_SIZE="2")
    assert (refused.returncode, "is one of several already" in refused.stderr) == (2, True)
