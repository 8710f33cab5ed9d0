"""An adapted layer in one product gives PEFT's numbers, and steps aside where it would not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import Linear
from torch import Tensor, nn

from kalign.training import fused_lora
from tests.conftest import Result
from tests.training.shared_prefix import twins

pytestmark = pytest.mark.usefixtures("one_thread")


def adapted(bias: bool = True, **options: Any) -> tuple[Any, Linear]:
    """A model of one adapted layer, and the layer."""
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(12, 20, bias=bias))
    model = get_peft_model(inner, LoraConfig(r=4, lora_alpha=6, target_modules=["0"], **options))
    nn.init.normal_(model.base_model.model[0].lora_B["default"].weight)
    return model, model.base_model.model[0]


def run(layer: Linear, x: Tensor, *, fused: bool, cast: torch.dtype | None = None) -> list[Tensor]:
    """Output and gradients, with the same dropout."""
    given = x.clone().requires_grad_()
    layer.zero_grad()
    torch.manual_seed(1)
    with torch.autocast("cpu", cast or torch.bfloat16, enabled=cast is not None):
        out = layer(given) if fused else type(layer).forward(layer, given)
    (out.float().sin() * torch.linspace(0, 1, out.shape[-1])).sum().backward()
    matrices = [layer.lora_A["default"].weight.grad, layer.lora_B["default"].weight.grad]
    return [out.detach(), given.grad, *(one.clone() for one in matrices)]  # type: ignore[list-item]


def apart(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_outputs_and_gradients_are_pefts(dtype: torch.dtype, near: float, dropout: float, bias: bool) -> None:
    model, layer = adapted(bias, lora_dropout=dropout)
    model.to(dtype)
    assert fused_lora.install(model) == fused_lora.Fused(layers=1, others={})
    x = torch.randn(3, 7, 12, dtype=dtype)
    for training in (True, False):
        model.train(training)
        for ours, theirs in zip(run(layer, x, fused=True), run(layer, x, fused=False), strict=True):
            assert ours.dtype == theirs.dtype and apart(ours, theirs) < near


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_under_autocast_they_are_pefts_up_to_the_rounding_of_bfloat16(dropout: float) -> None:
    model, layer = adapted(lora_dropout=dropout)
    layer.base_layer.to(torch.bfloat16)
    layer.cast_input_dtype_enabled = False
    fused_lora.install(model)
    x = torch.randn(3, 7, 12, dtype=torch.bfloat16)
    both = [run(layer, x, fused=fused, cast=torch.bfloat16) for fused in (True, False)]
    exact = run(layer.double(), x.double(), fused=False)
    for ours, theirs, truth in zip(*both, exact, strict=True):
        assert ours.dtype == theirs.dtype and apart(ours.float(), theirs.float()) < 3e-2
        if not dropout:  # which draws other masks in float64
            assert apart(ours.double(), truth) < 1.2 * apart(theirs.double(), truth)


def test_an_adapter_of_zeros_changes_no_bit_and_one_put_aside_none_either() -> None:
    model, layer = adapted()
    fused_lora.install(model)
    x = torch.randn(5, 12)
    with model.disable_adapter():
        assert torch.equal(layer(x), layer.base_layer(x))
    assert not torch.equal(layer(x), layer.base_layer(x))
    nn.init.zeros_(layer.lora_B["default"].weight)
    assert torch.equal(layer(x), layer.base_layer(x))
    layer.merge()
    assert torch.equal(layer(x), layer.base_layer(x))


def test_what_is_no_plain_lora_runs_pefts_forward_and_says_why() -> None:
    model, layer = adapted(use_dora=True)
    told = fused_lora.install(model)
    assert told.sentence() == (
        "1 adapted layers run PEFT's own forward: 1 because the adapter is no plain LoRA"
    )
    assert "forward" not in vars(layer)
    assert fused_lora.why_not(Linear(nn.Conv1d(2, 2, 1), "a", LoraConfig(), r=1)) == "the base is Conv1d"


def test_types_that_peft_casts_are_left_to_it() -> None:
    model, layer = adapted()
    layer.base_layer.to(torch.bfloat16)
    fused_lora.install(model)
    x = torch.randn(5, 12, dtype=torch.bfloat16)
    assert torch.equal(layer(x), type(layer).forward(layer, x))


def test_a_training_step_is_that_of_pefts_layers(tmp_path: Path) -> None:
    """The tests of exactness beside TRL's own way have PEFT's layers on TRL's side too."""
    rows = twins.examples()
    ours = twins.trainer(twins.model_of("gemma"), tmp_path, share=True)
    theirs = twins.trainer(twins.model_of("gemma"), tmp_path, share=True, fuse=False)
    assert ours.fused and ours.fused.layers > 0 and not ours.fused.others and theirs.fused is None
    both = [twins.logps(made, rows) for made in (ours, theirs)]
    assert ((both[0] - both[1]).abs() <= 2e-6 * both[1].abs() + 1e-6).all()
    (loss, gradients), (expected, wanted) = (twins.step(made, rows) for made in (ours, theirs))
    assert loss == pytest.approx(expected, abs=1e-6)
    assert twins.difference(gradients, wanted) <= 5e-6


def test_a_base_in_four_bits_says_that_its_layers_are_pefts(
    kalign_here: Callable[..., Result], short: list[str]
) -> None:
    words = ["adapter=qlora", "adapter.quantization.bnb_4bit_compute_dtype=float32", "trainer.max_steps=1"]
    done = kalign_here("train", *short, *words, "evaluation.generations=0")
    assert done.returncode == 0, done.stderr
    assert "run PEFT's own forward: 14 because the base is Linear4bit" in done.stderr + done.stdout
