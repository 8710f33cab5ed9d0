"""Log-probs of the tokens that count, with their gradient computed along the way.

The gradient of log p with respect to a hidden state does not depend on the loss behind it. So it is computed
while the logits are there anyway, and the backward pass is one multiplication: no logits are kept, none are
computed twice, and no more of them exist at once than `TILE_BYTES` allow.

Source:
    The idea of gradients in the forward: Hsu et al. 2024, Liger Kernel, https://arxiv.org/abs/2410.10989.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

TILE_BYTES = {"cpu": 32 << 20, "cuda": 512 << 20}  # of the logits of one tile, in float32
EXTRAS = ("entropy", "log_sum_sq_probs", "mean_logits", "is_top1")  # what TRL's metrics ask for


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What a model does to its logits before the softmax: `softcap * tanh(factor * logits / softcap)`."""

    factor: float = 1.0
    softcap: float | None = None

    @classmethod
    def of(cls, config: Any) -> "Scale":
        """That of a model with the text configuration `config`; a name that it lacks changes nothing."""
        factor = getattr(config, "logit_scale", None)  # each family has its own setting, or none
        divisor = getattr(config, "logits_scaling", None)
        if factor is None and divisor is not None:
            factor = 1 / divisor
        return cls(
            factor=1.0 if factor is None else factor, softcap=getattr(config, "final_logit_softcapping", None)
        )


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What the head says of N tokens, each (N,), float32 at least; None where it was not asked."""

    log_probs: Tensor
    entropy: Tensor | None = None
    log_sum_sq_probs: Tensor | None = None
    mean_logits: Tensor | None = None
    is_top1: Tensor | None = None


def scored(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    *,
    scale: Scale,
    extras: Collection[str] = (),
) -> Scored:
    """Score `targets` under the softmax of `hidden @ weight.T + bias`; only `hidden` gets a gradient.

    Args:
        hidden: (N, H); under autocast it is computed with in the type of that.
        weight: (V, H), frozen.
        targets: (N,), ids of tokens.
        extras: which of `EXTRAS` to compute too; none of them has a gradient.
    """
    columns = _LogProbs.apply(  # type: ignore[no-untyped-call]  # torch has no types for it
        hidden, weight, bias, targets, scale, tuple(extras)
    )
    return Scored(log_probs=columns[0], **dict(zip(extras, columns[1:], strict=True)))


class _LogProbs(torch.autograd.Function):
    """The log-probs as autograd sees them: d log p / d hidden is kept from the forward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        scale: Scale,
        extras: tuple[str, ...],
    ) -> tuple[Tensor, ...]:
        """Tile by tile of tokens, each with the whole vocabulary."""
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        tokens, vocabulary = hidden.shape[0], weight.shape[0]
        precise = torch.promote_types(dtype, torch.float32)
        out = torch.empty(1 + len(extras), tokens, dtype=precise, device=hidden.device)
        slope = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        rows = max(1, TILE_BYTES.get(device, TILE_BYTES["cuda"]) // (4 * vocabulary))
        with torch.autocast(device, enabled=False):
            matrix = weight.to(dtype)
            offset = None if bias is None else bias.to(dtype)
            for start in range(0, tokens, rows):
                part = slice(start, start + rows)
                tile = _Tile(hidden[part].to(dtype), matrix, offset, targets[part], scale)
                out[0, part] = tile.log_probs
                for number, name in enumerate(extras, start=1):
                    out[number, part] = getattr(tile, name)()  # one of EXTRAS
                if slope is not None:
                    slope[part] = tile.slope().to(dtype).mm(matrix)
        ctx.save_for_backward(slope)
        columns = [out[0]] + [
            out[number].bool() if name == "is_top1" else out[number]
            for number, name in enumerate(extras, start=1)
        ]
        ctx.mark_non_differentiable(*columns[1:])
        ctx.set_materialize_grads(False)
        return tuple(columns)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """The kept gradient times that of the loss."""
        [slope] = ctx.saved_tensors
        gradient = None if grads[0] is None else (slope * grads[0][:, None]).to(slope.dtype)
        return gradient, None, None, None, None, None


class _Tile:
    """The logits of some tokens, and what follows from them; `slope` comes last, because it overwrites."""

    def __init__(
        self, hidden: Tensor, matrix: Tensor, offset: Tensor | None, targets: Tensor, scale: Scale
    ) -> None:
        self.scale = scale
        self.targets = targets[:, None]
        product = hidden.mm(matrix.t()) if offset is None else torch.addmm(offset, hidden, matrix.t())
        self.logits = product.to(torch.promote_types(product.dtype, torch.float32))
        if scale.factor != 1.0:
            self.logits *= scale.factor
        if scale.softcap is not None:
            self.logits.div_(scale.softcap).tanh_().mul_(scale.softcap)
        top = self.logits.max(dim=1, keepdim=True)
        self.best = top.indices
        self.probabilities = (self.logits - top.values).exp_()
        total = self.probabilities.sum(dim=1, keepdim=True)
        self.probabilities /= total
        self.log_total = top.values + total.log()
        self.log_probs = (self.logits.gather(1, self.targets) - self.log_total)[:, 0]

    def entropy(self) -> Tensor:
        expected: Tensor = torch.linalg.vecdot(self.probabilities, self.logits)
        return self.log_total[:, 0] - expected

    def log_sum_sq_probs(self) -> Tensor:
        squares: Tensor = torch.linalg.vecdot(self.probabilities, self.probabilities)
        return squares.log()

    def mean_logits(self) -> Tensor:
        return self.logits.mean(dim=1)

    def is_top1(self) -> Tensor:
        return (self.best == self.targets)[:, 0]

    def slope(self) -> Tensor:
        """The derivative of the log-probs with respect to the product of hidden state and matrix."""
        derived = self.probabilities.neg_()
        derived.scatter_add_(1, self.targets, torch.ones_like(self.targets, dtype=derived.dtype))
        if self.scale.softcap is not None:
            derived *= 1 - (self.logits.div_(self.scale.softcap)).square_()
        if self.scale.factor != 1.0:
            derived *= self.scale.factor
        return derived
