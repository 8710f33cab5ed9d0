"""Attention over a row of pairs whose prompts stand in it once.

One name in transformers' tables of attentions and of masks. A call without a layout (generation, scoring,
TRL's own way) is transformers' `sdpa`, mask and all. A call with one needs no mask: prefix and chosen branch
are an ordinary causal text, and the rejected branch has the prefix and itself as keys, which stand in the
order of their positions, so that sliding windows cut them as they would cut the whole text.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from kalign.training.shared_prefix.layout import Layout

NAME = "kalign_pairs"
WIDEST_HEAD = 256  # of the kernel for texts of various lengths


def register() -> None:
    """Let transformers know the attention by its name; calling it again changes nothing."""
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    shared_prefix: Layout | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """What the queries see.

    Args:
        query: (1, heads, S, head_dim), `key` and `value` with as many heads as the model has for them.
        attention_mask: read only without a layout.
        shared_prefix: how the row is laid out.

    Returns:
        (1, S, heads, head_dim), and no weights.
    """
    if shared_prefix is None:
        seen: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
        )
        return seen
    window = options.get("sliding_window")
    if query.is_cuda and query.dtype in (torch.bfloat16, torch.float16) and query.shape[-1] <= WIDEST_HEAD:
        return _in_one_kernel(query, key, value, shared_prefix, window, scaling), None
    return _by_segments(query, key, value, shared_prefix, window, scaling), None


def _in_one_kernel(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, window: int | None, scaling: float | None
) -> Tensor:
    """All segments at once: causal where queries and keys end together, as flash attention aligns them."""
    out = varlen_attn(
        query[0].transpose(0, 1),
        _gathered(key[0].transpose(0, 1), layout),
        _gathered(value[0].transpose(0, 1), layout),
        layout.starts_of_queries,
        layout.starts_of_keys,
        layout.most_queries,
        layout.most_keys,
        scale=scaling,
        window_size=(window - 1 if window else -1, 0),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    assert isinstance(out, Tensor)
    return out[None]


def _gathered(row: Tensor, layout: Layout) -> Tensor:
    """The keys (or values) of all segments, (K, heads, head_dim): each prefix stands in it twice.

    Put together from slices, because the gradient of an index is added up in no certain order on a GPU.
    """
    sizes = [size for pair in layout.pairs for size in (pair.prefix, pair.chosen, pair.rejected)]
    parts = torch.split(row, sizes)
    return torch.cat(
        [
            part
            for prefix, chosen, rejected in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
            for part in (prefix, chosen, prefix, rejected)
        ]
    )


def _by_segments(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, window: int | None, scaling: float | None
) -> Tensor:
    """One segment after the other, where there is no kernel for all of them."""
    of_queries = [size for pair in layout.pairs for size in (pair.prefix + pair.chosen, pair.rejected)]
    of_keys = [size for pair in layout.pairs for size in (pair.prefix, pair.chosen, pair.rejected)]
    queries = torch.split(query, of_queries, dim=2)
    keys, values = torch.split(key, of_keys, dim=2), torch.split(value, of_keys, dim=2)
    outputs = []
    for number in range(len(layout.pairs)):
        for branch in (0, 1):
            prefix, own = 3 * number, 3 * number + 1 + branch
            outputs.append(
                _segment(
                    queries[2 * number + branch],
                    torch.cat((keys[prefix], keys[own]), dim=2),
                    torch.cat((values[prefix], values[own]), dim=2),
                    window,
                    scaling,
                )
            )
    return torch.cat(outputs, dim=2).transpose(1, 2)


def _segment(query: Tensor, key: Tensor, value: Tensor, window: int | None, scaling: float | None) -> Tensor:
    """Causal attention of queries that end where the keys end."""
    asked, known = query.shape[2], key.shape[2]
    plain = asked == known and (window is None or known <= window)
    mask = None if plain else _mask(asked, known, window, query.device)
    return functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=plain,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )


def _mask(asked: int, known: int, window: int | None, device: torch.device) -> Tensor:
    """Which keys a query sees: none after it, and none that lies a window or more before it."""
    seen = torch.ones(asked, known, dtype=torch.bool, device=device).tril_(known - asked)
    return seen if window is None else seen.triu_(known - asked - window + 1)
