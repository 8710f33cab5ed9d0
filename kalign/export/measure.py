"""How much of what the adapter does a merged model does too, in float32 from the bytes on disk."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

POSITIONS = 1024  # at most so many answer tokens are compared by their whole logits
NEW_TOKENS = 16
Row = tuple[list[int], list[int]]  # prompt and answer


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one model says: logits where answers are, log-probs of answers, and greedy answers."""

    logits: Tensor  # (positions, vocabulary), float32
    logps: list[float]  # of each row, in nats, summed over its answer
    greedy: list[list[int]]


def look(
    model: Any,
    rows: Sequence[Row],
    prompts: Sequence[list[int]],
    stops: list[int],
    tell: Callable[[int, int], None],
) -> Look:
    """Let `model` score the rows one by one and answer the prompts greedily.

    Args:
        tell: is called with how many rows and prompts are done, and how many there are.
    """
    device = next(model.parameters()).device
    room = max(1, POSITIONS // max(1, len(rows)))
    kept, logps = [], []
    with torch.no_grad():
        for number, (prompt, answer) in enumerate(rows):
            tell(number, len(rows) + len(prompts))
            ids = torch.tensor([prompt + answer], device=device)
            logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1].float()
            each = logits.log_softmax(-1).gather(1, ids[0, len(prompt) :, None])
            logps.append(float(each.sum()))
            step = math.ceil(len(answer) / room)
            kept.append(logits[::step].cpu())
        greedy = []
        for number, prompt in enumerate(prompts, start=len(rows)):
            tell(number, len(rows) + len(prompts))
            greedy.append(_greedy(model, torch.tensor([prompt], device=device), stops))
    return Look(logits=torch.cat(kept), logps=logps, greedy=greedy)


def _greedy(model: Any, ids: Tensor, stops: list[int]) -> list[int]:
    out = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=NEW_TOKENS,
        do_sample=False,
        eos_token_id=stops,
        pad_token_id=stops[0],
    )
    return [int(token) for token in out[0, ids.shape[1] :]]


def compared(
    base: Look, adapter: Look, merged: Look, beta: float | None, own: Look | None = None
) -> Mapping[str, Any]:
    """The merged model against the trained one.

    Args:
        base: what the adapter was trained on.
        beta: of the margins; None where answers were learned one by one, and there are none.
        own: what the merged model was made from, if that is not `base`.
    """
    wanted = adapter.logits - base.logits
    got = merged.logits - (own or base).logits
    square = float((wanted.double() ** 2).sum())
    along = float((wanted.double() * got.double()).sum())
    log_a, log_m = adapter.logits.log_softmax(-1), merged.logits.log_softmax(-1)
    kl = (log_a.exp() * (log_a - log_m)).sum(-1)
    margins_a, margins_m = _margins(base, adapter, beta), _margins(own or base, merged, beta)
    learned = sum(a * a for a in margins_a)
    return {
        "positions": len(wanted),
        "retention": along / square if square else None,
        "effect_cosine": along / math.sqrt(square * size)
        if square and (size := float((got.double() ** 2).sum()))
        else None,
        "margin_retention": sum(a * m for a, m in zip(margins_a, margins_m, strict=True)) / learned
        if learned
        else None,
        "pairs": len(margins_a) if beta is not None else len(base.logps),
        "kl_adapter_merged": max(0.0, float(kl.mean())),
        "top1_agreement": float((adapter.logits.argmax(-1) == merged.logits.argmax(-1)).float().mean()),
        "greedy_equal": sum(a == m for a, m in zip(adapter.greedy, merged.greedy, strict=True)),
        "greedy_prompts": len(adapter.greedy),
        "largest_difference_from_base": float((merged.logits - base.logits).abs().max()),
        "base_shift": float(((own.logits - base.logits) ** 2).sum().sqrt() / math.sqrt(square))
        if own and square
        else None,
    }


def _margins(before: Look, after: Look, beta: float | None) -> list[float]:
    """DPO's margin of each pair; rows are chosen, rejected, chosen, ..."""
    if beta is None:
        return []
    gained = [new - old for old, new in zip(before.logps, after.logps, strict=True)]
    return [beta * (chosen - rejected) for chosen, rejected in zip(gained[::2], gained[1::2], strict=True)]
