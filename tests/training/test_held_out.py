from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM
from trl.trainer.utils import add_fused_lm_head

from kalign.training import held_out
from kalign.training.held_out import Scores


def test_the_log_prob_of_an_answer_is_the_sum_over_its_tokens_alone(small_model: Path) -> None:
    """Against a plain softmax over the logits of each row by itself, without padding."""
    model = AutoModelForCausalLM.from_pretrained(small_model, dtype=torch.float32)
    rows = [
        ([1, 4, 300, 5], [310, 320, 2]),
        ([1, 4, 5], [400, 2]),
        ([1, 4, 301, 302, 303, 5], [9, 10, 11, 2]),
    ]
    expected = []
    for prompt, answer in rows:
        with torch.no_grad():
            logits = model(torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
        expected.append(sum(logits[len(prompt) - 1 + n, token].item() for n, token in enumerate(answer)))
    add_fused_lm_head(model)
    with torch.no_grad():
        scored = held_out.answer_logps(model, rows, pad=0).tolist()
    assert scored == pytest.approx(expected, rel=1e-5)


def test_the_comparison_counts_what_gained_more() -> None:
    before = Scores(chosen_logps=[-10.0, -20.0, -30.0], rejected_logps=[-9.0, -21.0, -30.0])
    after = Scores(chosen_logps=[-8.0, -20.0, -33.0], rejected_logps=[-10.0, -20.0, -31.0])
    pairs: list[Any] = [None] * 3
    changed = held_out.comparison(pairs, before, after, beta=0.5)
    assert changed["reward_accuracy"]["after"]["value"] == pytest.approx(1 / 3)
    assert changed["reward_margin"]["after"]["value"] == pytest.approx(0.5 * (3 - 1 - 2) / 3)
    assert changed["prefers_chosen"]["before"]["value"] == pytest.approx(1 / 3)
    assert changed["chosen_logp"]["after"]["value"] == pytest.approx(-61 / 3)
