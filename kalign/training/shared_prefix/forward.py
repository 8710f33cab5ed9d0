"""The forward that scores a row of pairs and answers in TRL's shape."""

import functools
import types
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel
from trl.trainer.utils import FusedCausalLMOutput, maybe_gather_lm_head_ctx

from kalign.training import head
from kalign.training.head import Scale, Scored
from kalign.training.shared_prefix import attention
from kalign.training.shared_prefix.layout import Layout


def install(model: PreTrainedModel, *, extras: Sequence[str] = head.EXTRAS) -> None:
    """Let `model(..., fused_lm_head=True)` score rows of pairs, and padded rows too, with kalign's head.

    Call it after TRL's own `add_fused_lm_head`, which it stands in for. Any other call of the model is left
    as it was.

    Args:
        model: one for which `why_not` finds no reason against it.
        extras: what the head computes besides log-probs, unless a call asks for less.
    """
    attention.register()
    nested = "text_config" in model.config.sub_configs
    model.set_attn_implementation({"text_config": attention.NAME} if nested else attention.NAME)
    stock = model.forward
    scale = Scale.of(model.config.get_text_config())

    @functools.wraps(type(model).forward)  # `generate` reads the signature
    def forward(
        self: PreTrainedModel,
        *arguments: Any,
        fused_lm_head: bool = False,
        shared_prefix: Layout | None = None,
        head_outputs: Sequence[str] = tuple(extras),
        **options: Any,
    ) -> Any:
        if not fused_lm_head:
            return stock(*arguments, **options)
        if shared_prefix is None:
            return _padded(self, scale, head_outputs, options)
        return _packed(self, scale, head_outputs, shared_prefix)

    model.forward = types.MethodType(forward, model)


def _packed(
    model: PreTrainedModel, scale: Scale, extras: Sequence[str], layout: Layout
) -> FusedCausalLMOutput:
    """Score one row of pairs."""
    # A mask of four dimensions is handed on as it is in every family, and the attention reads none
    unread = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=layout.ids.device)
    states = model.base_model(
        input_ids=layout.ids,
        position_ids=layout.positions,
        attention_mask=unread,
        use_cache=False,
        shared_prefix=layout,
    ).last_hidden_state
    said = _scored(model, states[0].index_select(0, layout.scored), layout.targets, scale, extras)
    return _answer(said, layout.scattered)


def _padded(
    model: PreTrainedModel, scale: Scale, extras: Sequence[str], options: dict[str, Any]
) -> FusedCausalLMOutput:
    """Score TRL's padded rows where their labels say so."""
    labels = options.pop("labels")[:, 1:]
    states = model.base_model(**options).last_hidden_state[:, :-1]
    mask = labels != -100
    said = _scored(model, states[mask], labels[mask], scale, extras)
    return _answer(said, lambda values: values.new_zeros(mask.shape).masked_scatter(mask, values))


def _scored(
    model: PreTrainedModel, hidden: Tensor, targets: Tensor, scale: Scale, extras: Sequence[str]
) -> Scored:
    layer = model.get_output_embeddings()
    weight, bias = layer.weight, layer.bias
    if isinstance(weight, DTensor):  # FSDP2 keeps a part on each device
        weight = weight.full_tensor()
        bias = bias if bias is None else bias.full_tensor()
    with maybe_gather_lm_head_ctx(weight, bias):  # ZeRO-3 too
        return head.scored(
            hidden.to(weight.device), weight, bias, targets.to(weight.device), scale=scale, extras=extras
        )


def _answer(said: Scored, spread: Any) -> FusedCausalLMOutput:
    return FusedCausalLMOutput(
        **{name: value if value is None else spread(value) for name, value in vars(said).items()}
    )
