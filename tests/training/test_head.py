"""The log-prob head: exact values and gradients, in tiles of bounded size, for large vocabularies too."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from trl.kernels.chunked_logprob import ChunkedLogProbFunction

from kalign.training import head
from kalign.training.head import EXTRAS, Scale

SCALES = [Scale(), Scale(softcap=5.0), Scale(factor=0.5), Scale(factor=2.0, softcap=3.0)]


def inputs(tokens: int, hidden: int, vocabulary: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    torch.manual_seed(0)
    states = torch.randn(tokens, hidden, dtype=dtype, requires_grad=True)
    weight, bias = torch.randn(vocabulary, hidden, dtype=dtype), torch.randn(vocabulary, dtype=dtype)
    return [states, weight, bias, torch.randint(vocabulary, (tokens,))]


@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_the_gradient_is_that_of_the_log_probs(scale: Scale) -> None:
    states, weight, bias, targets = inputs(5, 4, 7, torch.float64)

    def logps(states: Tensor) -> Tensor:
        return head.scored(states, weight, bias, targets, scale=scale).log_probs

    assert torch.autograd.gradcheck(logps, (states,))


@pytest.mark.parametrize("scale", SCALES, ids=str)
@pytest.mark.parametrize("tile", [1, 3 * 4 * 50, 1 << 20], ids=["a token", "three tokens", "all"])
def test_values_are_trls_whatever_the_tile(scale: Scale, tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(head.TILE_BYTES, "cpu", tile)
    states, weight, bias, targets = inputs(11, 8, 50)
    said = head.scored(states, weight, bias, targets, scale=scale, extras=EXTRAS)
    wanted = ChunkedLogProbFunction.apply(
        states, weight, bias, targets, 1.0, 16, scale.softcap, scale.factor, EXTRAS
    )
    for name, expected in zip(("log_probs", *EXTRAS), wanted, strict=True):
        close = 1e-5 if name == "entropy" else 2e-6  # a difference of larger numbers
        assert torch.allclose(getattr(said, name).float(), expected.float(), atol=close, rtol=2e-6), name
    assert said.is_top1 is not None and said.is_top1.dtype == torch.bool
    [ours] = torch.autograd.grad(said.log_probs.sin().sum(), states)
    [theirs] = torch.autograd.grad(wanted[0].sin().sum(), states)
    assert torch.allclose(ours, theirs, atol=1e-6)


class Largest(TorchDispatchMode):
    """The most bytes that any one result of an operation takes."""

    most = 0

    def __torch_dispatch__(self, function: Any, types: Any, given: Any = (), options: Any = None) -> Any:
        result = function(*given, **(options or {}))
        for one in result if isinstance(result, tuple) else (result,):
            if isinstance(one, Tensor):
                self.most = max(self.most, one.numel() * one.element_size())
        return result


def test_a_vocabulary_of_262144_takes_no_more_than_a_tile() -> None:
    states, weight, _, targets = inputs(70, 4, 262_144)
    with Largest() as largest:
        said = head.scored(states, weight, None, targets, scale=Scale(), extras=EXTRAS)
        said.log_probs.sum().backward()
    assert largest.most <= head.TILE_BYTES["cpu"] < 70 * 262_144 * 4
    full = (states @ weight.t()).log_softmax(-1).gather(1, targets[:, None])[:, 0]
    assert torch.allclose(said.log_probs, full, rtol=2e-6, atol=1e-5)


def test_nothing_is_kept_where_no_gradient_is_wanted() -> None:
    states, weight, bias, targets = inputs(5, 4, 7)
    with torch.no_grad():
        said = head.scored(states, weight, bias, targets, scale=Scale())
    assert said.log_probs.grad_fn is None and said.entropy is None


def test_no_scored_token_at_all_still_has_a_gradient_of_zero() -> None:
    states, weight, bias, targets = inputs(0, 4, 7)
    head.scored(states, weight, bias, targets, scale=Scale()).log_probs.sum().backward()
    assert states.grad is not None and states.grad.shape == (0, 4)


def test_the_scale_of_a_model_is_read_from_its_configuration() -> None:
    from transformers import Gemma2Config, GraniteConfig, LlamaConfig

    assert Scale.of(LlamaConfig()) == Scale()
    assert Scale.of(Gemma2Config()) == Scale(softcap=30.0)
    assert Scale.of(GraniteConfig(logits_scaling=4.0)) == Scale(factor=0.25)
