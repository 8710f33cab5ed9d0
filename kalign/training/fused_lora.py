"""An adapted layer in one product: W x + s B A x, added up in place, forward and backward.

PEFT adds the adapter's share to the frozen one, as a new tensor of the layer's whole output, after scaling
it in another; autograd adds the two gradients of the input likewise. Here both are added where they go. In
float32 the same numbers come out up to rounding, and dropout draws the same masks.

Source:
    PEFT 0.21, `peft.tuners.lora.layer.Linear.forward`, whose arithmetic this is.
"""

import types
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import Linear
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class Fused:
    """How many adapted layers run in one product, and why others do not."""

    layers: int
    others: dict[str, int]  # reason: how many

    def sentence(self) -> str | None:
        """One line about the layers that do not, for a screen; None if all do."""
        if not self.others:
            return None
        reasons = "; ".join(f"{count} because {reason}" for reason, count in self.others.items())
        return f"{sum(self.others.values())} adapted layers run PEFT's own forward: {reasons}"


def install(model: PeftModel) -> Fused:
    """Let adapted layers run in one product where that is PEFT's arithmetic; calling it again changes
    nothing."""
    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    reasons = Counter(reason for layer in layers if (reason := why_not(layer)))
    for layer in layers:
        if why_not(layer) is None:
            layer.forward = types.MethodType(_forward, layer)
    return Fused(layers=len(layers) - reasons.total(), others=dict(reasons))


def why_not(layer: BaseTunerLayer) -> str | None:
    """Why a layer cannot run in one product, in a few words; None if it can."""
    base = layer.get_base_layer()
    if type(base) is not nn.Linear:
        return f"the base is {type(base).__name__}"
    if not isinstance(layer, Linear) or layer.lora_variant:
        return "the adapter is no plain LoRA"
    if base.weight.requires_grad or any(down.bias is not None for down in layer.lora_B.values()):
        return "its base or a bias is trained"
    return None


def _forward(layer: Linear, x: Tensor, *arguments: Any, **options: Any) -> Any:
    name = layer.active_adapters[0] if len(layer.active_adapters) == 1 else None
    if arguments or options or layer.disable_adapters or layer.merged or name not in layer.lora_A:
        return type(layer).forward(layer, x, *arguments, **options)
    device, base = x.device.type, layer.get_base_layer()
    narrow, wide = layer.lora_A[name].weight, layer.lora_B[name].weight
    cast = torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if cast else x.dtype
    if base.weight.dtype != dtype or not (cast or narrow.dtype == wide.dtype == dtype):
        return type(layer).forward(layer, x)  # whose casts are not ours
    dropout = layer.lora_dropout[name]
    acts = isinstance(dropout, nn.Dropout) and dropout.training and dropout.p > 0
    dropped = dropout(x).to(dtype) if acts else None
    with torch.autocast(device, enabled=False):
        bias = None if base.bias is None else base.bias.to(dtype)
        said: Tensor = _Product.apply(  # type: ignore[no-untyped-call]  # torch has no types for it
            x.to(dtype), dropped, base.weight, bias, narrow.to(dtype), wide.to(dtype), layer.scaling[name]
        )
    return said


class _Product(torch.autograd.Function):
    """The product as autograd sees it; the frozen weight gets no gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        dropped: Tensor | None,
        weight: Tensor,
        bias: Tensor | None,
        narrow: Tensor,
        wide: Tensor,
        scaling: float,
    ) -> Tensor:
        """`dropped` is what the adapter sees of `x`, where dropout acts."""
        seen = (x if dropped is None else dropped).reshape(-1, x.shape[-1])
        out = functional.linear(x.reshape(-1, x.shape[-1]), weight, bias)
        inner = seen.mm(narrow.t()).mul_(scaling)
        out.addmm_(inner, wide.t())
        ctx.save_for_backward(seen, inner, weight, narrow, wide)
        ctx.scaling, ctx.shape, ctx.drops = scaling, x.shape, dropped is not None
        return out.view(*x.shape[:-1], weight.shape[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of input, dropped input and both matrices, as far as they are asked for."""
        seen, inner, weight, narrow, wide = ctx.saved_tensors
        rows = grad.reshape(-1, weight.shape[0])
        through = rows.mm(wide).mul_(ctx.scaling)
        of_x = of_dropped = None
        if ctx.needs_input_grad[0]:
            of_x = rows.mm(weight)
            if not ctx.drops:
                of_x.addmm_(through, narrow)
            of_x = of_x.view(ctx.shape)
        if ctx.drops and ctx.needs_input_grad[1]:
            of_dropped = through.mm(narrow).view(ctx.shape)
        of_narrow = through.t().mm(seen) if ctx.needs_input_grad[4] else None
        of_wide = rows.t().mm(inner) if ctx.needs_input_grad[5] else None
        return of_x, of_dropped, None, None, of_narrow, of_wide, None
