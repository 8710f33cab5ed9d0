from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from kalign.training import held_out, references
from kalign.training.held_out import Scores
from tests.training.shared_prefix import twins


@dataclass
class Row:
    """A pair, as far as scoring reads it."""

    ids: dict[str, list[int]]

    def columns(self) -> dict[str, list[int]]:
        return self.ids


@pytest.mark.parametrize("share", [True, False], ids=["shared", "padded"])
def test_the_log_prob_of_an_answer_is_the_sum_over_its_tokens_alone(share: bool, tmp_path: Path) -> None:
    """Against a plain softmax over the logits of each row by itself, without padding or a shared prompt."""
    made = twins.trainer(twins.model_of("qwen3"), tmp_path, share=share)
    pairs: list[Any] = [Row(ids) for ids in twins.examples()]
    embeddings, run = made.model.get_base_model().get_input_embeddings(), []
    hook = embeddings.register_forward_pre_hook(lambda _, given: run.append(given[0].numel()))
    scored = {
        adapter: held_out.scores(references.of_trainer(made), pairs, batch=2, adapter=adapter)
        for adapter in (True, False)
    }
    hook.remove()
    assert (sum(run) == 2 * twins.tokens(twins.examples())) == share
    for adapter, found in scored.items():
        for answer, sums in (("chosen_ids", found.chosen_logps), ("rejected_ids", found.rejected_logps)):
            expected = [summed(made.model, row.ids["prompt_ids"], row.ids[answer], adapter) for row in pairs]
            assert sums == pytest.approx(expected, rel=1e-5)
    assert scored[True] != scored[False]


def summed(model: Any, prompt: list[int], answer: list[int], adapter: bool) -> float:
    with torch.no_grad(), nullcontext() if adapter else model.disable_adapter():
        logits = model(input_ids=torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
    return float(sum(logits[len(prompt) - 1 + n, token] for n, token in enumerate(answer)))


def test_the_comparison_counts_what_gained_more() -> None:
    before = Scores(chosen_logps=[-10.0, -20.0, -30.0], rejected_logps=[-9.0, -21.0, -30.0])
    after = Scores(chosen_logps=[-8.0, -20.0, -33.0], rejected_logps=[-10.0, -20.0, -31.0])
    pairs: list[Any] = [None] * 3
    changed = held_out.comparison(pairs, before, after, beta=0.5)
    assert changed["reward_accuracy"]["after"]["value"] == pytest.approx(1 / 3)
    assert changed["reward_margin"]["after"]["value"] == pytest.approx(0.5 * (3 - 1 - 2) / 3)
    assert changed["prefers_chosen"]["before"]["value"] == pytest.approx(1 / 3)
    assert changed["chosen_logp"]["after"]["value"] == pytest.approx(-61 / 3)
