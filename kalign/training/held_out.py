"""The held-out pairs before and after training: log-probs of every answer, and a few answers of the model's
own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch
from peft import PeftModel
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
