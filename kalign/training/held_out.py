"""The held-out pairs before and after training: log-probs of every answer, and a few answers of the model's
own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from kalign.data.build import Pair
from kalign.models.answers import equally_long, greedy
from kalign.statistics import Estimate, mean, wilson
from kalign.training.references.scoring import Scorer


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What one model thinks of the held-out pairs; log-probs in nats, one an answer, in the order of the
    pairs."""

    chosen_logps: list[float]
    rejected_logps: list[float]


def scores(scorer: Scorer, pairs: Sequence[Pair], *, batch: int, adapter: bool) -> Scores:
    """Score every pair with the adapter, or with the base alone.

    Args:
        scorer: the trainer's own way, so each prompt is run once where that is exact.
        batch: pairs scored at once.
    """
    found: list[tuple[float, float]] = []
    name = "with adapter" if adapter else "base"
    for start in tqdm(range(0, len(pairs), batch), desc=f"scoring held-out pairs, {name}", leave=False):
        some = [pair.columns() for pair in pairs[start : start + batch]]
        found += [scored.sums(ld_alpha=None) for scored in scorer.logps(some, adapter=adapter)]
    return Scores(chosen_logps=[one for one, _ in found], rejected_logps=[other for _, other in found])


def logps(
    model: PeftModel,
    rows: Sequence[tuple[list[int], list[int]]],
    *,
    pad: int,
    batch: int,
    adapter: bool,
    autocast: Any,
) -> list[float]:
    """The log-probability of the answer of each row behind what stands before it, summed over its tokens, in
    nats."""
    found: list[float] = []
    with _inference(model, adapter), autocast():
        for start in tqdm(range(0, len(rows), batch), desc="scoring held-out answers", leave=False):
            found += answer_logps(model, rows[start : start + batch], pad=pad).tolist()
    return found


def answer_logps(model: Any, rows: Sequence[tuple[list[int], list[int]]], *, pad: int) -> Tensor:
    """The log-probability of each answer after its prompt, summed over its tokens, in nats: (rows,),
    float32."""
    device = next(model.parameters()).device
    longest = max(len(prompt) + len(answer) for prompt, answer in rows)
    ids_BL = torch.full((len(rows), longest), pad)
    scored_BL = torch.zeros((len(rows), longest), dtype=torch.bool)
    for row, (prompt, answer) in enumerate(rows):
        ids_BL[row, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
        scored_BL[row, len(prompt) : len(prompt) + len(answer)] = True
    lengths = torch.tensor([len(prompt) + len(answer) for prompt, answer in rows])
    real_BL = torch.arange(longest)[None, :] < lengths[:, None]
    ids_BL, scored_BL = ids_BL.to(device), scored_BL.to(device)
    # TRL's head scores labels without building the logits of a whole vocabulary
    labels_BL = ids_BL.masked_fill(~scored_BL, -100)
    outputs = model(
        input_ids=ids_BL,
        attention_mask=real_BL.long().to(device),
        labels=labels_BL,
        fused_lm_head=True,
        use_cache=False,
    )
    logps: Tensor = outputs.log_probs.float().sum(dim=1)
    return logps


def answers(
    model: PeftModel,
    prompts: Sequence[list[int]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    turn_end: int,
    max_new_tokens: int,
    batch: int,
    adapter: bool,
    autocast: Any,
    together: bool = False,
) -> list[str]:
    """What the model answers, greedily, in the order of the prompts.

    Args:
        batch: prompts answered at once; only equally long ones are, so that no padding touches the result.
        together: whether all processes answer, because the model is divided among them.
    """
    said: dict[int, str] = {}
    groups = list(equally_long(prompts, batch))
    name = "with adapter" if adapter else "base"
    with _inference(model, adapter), autocast():
        for places in tqdm(groups, desc=f"answering held-out prompts, {name}", leave=False):
            some = [prompts[place] for place in places]
            told = greedy(
                model, some, tokenizer, turn_end=turn_end, max_new_tokens=max_new_tokens, together=together
            )
            said |= {place: one.text for place, one in zip(places, told, strict=True)}
    return [said[place] for place in range(len(prompts))]


def comparison(pairs: Sequence[Pair], before: Scores, after: Scores, *, beta: float) -> dict[str, Any]:
    """What changed on the held-out pairs, each number with its 95 % interval.

    Reward accuracy and margin are DPO's: how often, and by how much, beta times the log-ratio of the chosen
    answer exceeds that of the rejected one. Before training both policies are the same, so there is nothing
    to compare.
    """
    margins = [
        beta * ((a_c - b_c) - (a_r - b_r))
        for b_c, b_r, a_c, a_r in zip(
            before.chosen_logps, before.rejected_logps, after.chosen_logps, after.rejected_logps, strict=True
        )
    ]
    return {
        "pairs": len(pairs),
        "reward_accuracy": {
            "before": None,
            "after": asdict(wilson(sum(m > 0 for m in margins), len(margins))),
        },
        "reward_margin": {"before": None, "after": asdict(mean(margins))},
        "prefers_chosen": {"before": asdict(_preferred(before)), "after": asdict(_preferred(after))},
        "chosen_logp": {
            "before": asdict(mean(before.chosen_logps)),
            "after": asdict(mean(after.chosen_logps)),
        },
        "rejected_logp": {
            "before": asdict(mean(before.rejected_logps)),
            "after": asdict(mean(after.rejected_logps)),
        },
    }


def _preferred(scored: Scores) -> Estimate:
    won = sum(c > r for c, r in zip(scored.chosen_logps, scored.rejected_logps, strict=True))
    return wilson(won, len(scored.chosen_logps))


@contextmanager
def _inference(model: PeftModel, adapter: bool) -> Iterator[None]:
    """Evaluation mode without gradients, with or without the adapter; the mode is put back afterwards."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), nullcontext() if adapter else model.disable_adapter():
            yield
    finally:
        model.train(training)
