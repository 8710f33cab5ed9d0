"""Sharing the prompt changes no number: log-probs, losses, gradients, metrics and trainings are TRL's own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from trl import DPOTrainer

from kalign.config import training
from kalign.training import shared_prefix
from kalign.training.shared_prefix import forward, support
from kalign.training.trainer import PairTrainer
from tests.training.shared_prefix.twins import (
    FAMILIES,
    OTHERS,
    difference,
    examples,
    logps,
    model_of,
    step,
    tokens,
    trainer,
)

GRADIENT = 5e-6  # relative
Both = tuple[PairTrainer, PairTrainer]
ROWS = examples()


def both(name: str, out: Path, **options: Any) -> Both:
    """Shared, and as TRL does it."""
    ours = trainer(model_of(name), out, share=True, **options)
    theirs = trainer(model_of(name), out, share=False, fuse=False, **options)
    assert ours.stock_because is None and theirs.stock_because is not None
    return ours, theirs


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Both:
    return both("llama", tmp_path_factory.mktemp("llama"), use_weighting=True)


@pytest.fixture
def pair(llama: Both) -> Iterator[Both]:
    """The two trainers, with TRL's usual loss again after each test."""
    yield llama
    for made in llama:
        made.loss_types, made.ld_alpha, made.use_weighting, made.label_smoothing = (
            ["sigmoid"],
            None,
            False,
            0.0,
        )
        made.f_divergence_type = "reverse_kl"


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
@pytest.mark.parametrize("name", [*FAMILIES, *OTHERS])
def test_log_probs_and_gradients_are_those_of_padded_rows(
    name: str, checkpointing: bool, tmp_path: Path
) -> None:
    ours, theirs = both(name, tmp_path, checkpointing=checkpointing)
    packed, padded = logps(ours, ROWS), logps(theirs, ROWS)
    assert ((packed - padded).abs() <= 2e-6 * padded.abs() + 1e-6).all()
    (loss, gradients), (expected, wanted) = step(ours, ROWS), step(theirs, ROWS)
    assert loss == pytest.approx(expected, abs=1e-5)
    assert difference(gradients, wanted) <= GRADIENT
    for key, values in theirs._metrics["train"].items():
        assert ours._metrics["train"][key] == pytest.approx(values, rel=1e-5, abs=1e-5), key


@pytest.mark.parametrize("name", training.LOSS_TYPES)
def test_every_loss_is_trls(name: str, pair: Both) -> None:
    for made in pair:
        made.loss_types = [name]
        made.label_smoothing = 0.1 if name in training.SMOOTHED_LOSSES else 0.0
        made.use_weighting = False
    (loss, gradients), (expected, wanted) = (step(made, ROWS) for made in pair)
    assert loss == pytest.approx(expected, abs=1e-5, rel=1e-6)
    assert difference(gradients, wanted) <= GRADIENT


@pytest.mark.parametrize(
    "option",
    [
        {"ld_alpha": 0.5},
        {"use_weighting": True},
        {"f_divergence_type": "js_divergence"},
        {"f_divergence_type": "forward_kl"},
        {"loss_types": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5]},
    ],
    ids=str,
)
def test_every_option_of_a_loss_is_trls(option: dict[str, Any], pair: Both) -> None:
    for made in pair:
        made.use_weighting = False
        for key, value in option.items():
            setattr(made, key, value)
    (loss, gradients), (expected, wanted) = (step(made, ROWS) for made in pair)
    assert loss == pytest.approx(expected, abs=1e-5)
    assert difference(gradients, wanted) <= GRADIENT


@pytest.mark.parametrize("length", [23, 41])
def test_rows_that_trl_cuts_are_cut_alike(length: int, pair: Both) -> None:
    rows = [row for row in ROWS if len(row["prompt_ids"]) < length]
    for made in pair:
        made.data_collator.max_length = length
    try:
        packed, padded = (logps(made, rows) for made in pair)
        assert ((packed - padded).abs() <= 2e-6 * padded.abs() + 1e-6).all()
        assert (
            (packed != 0).sum()
            == (padded != 0).sum()
            < sum(len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in rows)
        )
    finally:
        for made in pair:
            made.data_collator.max_length = None


@pytest.mark.parametrize("name", ["gemma", "qwen"])
def test_four_steps_of_training_end_with_the_same_adapter(name: str, tmp_path: Path) -> None:
    ours, theirs = both(name, tmp_path, max_steps=4, learning_rate=1e-3, eval_strategy="steps", eval_steps=2)
    for made in (ours, theirs):
        made.train()
    for logged, wanted in zip(ours.state.log_history, theirs.state.log_history, strict=True):
        for key in wanted.keys() - {key for key in wanted if "second" in key or "runtime" in key}:
            loose = 1e-4 if key == "grad_norm" else 1e-5
            assert logged[key] == pytest.approx(wanted[key], rel=loose, abs=1e-5), key
    learned = {name: weight.data for name, weight in ours.model.named_parameters() if weight.requires_grad}
    other = {name: weight.data for name, weight in theirs.model.named_parameters() if weight.requires_grad}
    assert difference(learned, other) < 2e-4


def test_a_pair_whose_prompt_is_empty_takes_trls_way(pair: Both) -> None:
    rows = [{**ROWS[2], "prompt_ids": []}, ROWS[4]]
    assert "shared_prefix" not in pair[0].data_collator(rows)
    packed, padded = (logps(made, rows) for made in pair)
    assert ((packed - padded).abs() <= 2e-6 * padded.abs() + 1e-6).all()


def test_generation_is_what_it_was(tmp_path: Path) -> None:
    plain = model_of("gemma").eval()
    ids = torch.tensor([ROWS[4]["prompt_ids"]])
    expected = plain.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
    shared_prefix.install(plain)
    said = plain.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
    assert torch.equal(said, expected)


class Counted:
    """How many tokens a model's decoder ran."""

    def __init__(self, made: PairTrainer) -> None:
        self.calls: list[int] = []
        embeddings = made.model.get_base_model().get_input_embeddings()
        embeddings.register_forward_pre_hook(lambda _, given: self.calls.append(given[0].numel()))


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
def test_no_token_is_run_in_vain(checkpointing: bool, tmp_path: Path) -> None:
    made = trainer(model_of("exaone"), tmp_path, share=True, checkpointing=checkpointing)
    counted = Counted(made)
    step(made, ROWS)
    assert counted.calls == [tokens(ROWS)] * 2  # policy and reference
    wasteful = trainer(model_of("exaone"), tmp_path, share=False)
    other = Counted(wasteful)
    step(wasteful, ROWS)
    assert other.calls == [2 * len(ROWS) * 70] * 2  # two padded rows a pair


def test_canary_trl_calls_our_collator_and_our_forward_for_policy_reference_and_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trainer(model_of("llama"), tmp_path, share=True, max_steps=1, per_device_eval_batch_size=5)
    counted, run = Counted(made), []
    packed = forward._packed
    monkeypatch.setattr(forward, "_packed", lambda *given: (run.append(given[-1].tokens), packed(*given))[1])
    order = [ROWS[place] for place in made.order]
    made.train()
    expected = [tokens(order[:2])] * 2 + [tokens(order[2:4])] * 2
    assert run == counted.calls == expected
    made.evaluate()
    assert run == counted.calls == [*expected, tokens(ROWS), tokens(ROWS)]


def test_canary_stock_trl_still_pads_and_runs_prompts_twice(tmp_path: Path) -> None:
    """If this fails, TRL shares prompts or drops padding itself, and this room may be given up."""
    made = trainer(model_of("llama"), tmp_path, share=False)
    assert type(made.data_collator).__name__ == "DataCollatorForPreference"
    assert made.data_collator(ROWS)["input_ids"].shape == (2 * len(ROWS), 70)
    assert DPOTrainer._compute_loss is PairTrainer._compute_loss


def test_a_model_that_was_not_compared_takes_trls_way_and_says_why(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    assert "gpt2 was not compared" in str(
        support.why_not(GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=1)))
    )
    eager = model_of("mistral")
    eager.set_attn_implementation("eager")
    made = trainer(eager, tmp_path, share=True)
    assert made.stock_because == "model.attn_implementation=eager has no form for it; sdpa has"
    assert type(made.data_collator).__name__ == "DataCollatorForPreference"
    assert torch.isfinite(torch.tensor(step(made, ROWS)[0]))


def test_a_rotation_that_depends_on_the_longest_text_takes_trls_way() -> None:
    model = model_of("qwen3")
    model.config.rope_parameters = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    assert "(dynamic) depends on the longest text" in str(support.why_not(model))


@pytest.mark.gpu
@pytest.mark.parametrize("window", [None, 8])
@pytest.mark.parametrize("heads", [4, 2], ids=["all heads", "grouped"])
def test_the_kernel_for_all_segments_is_the_one_for_each(window: int | None, heads: int) -> None:
    """Bottom-right alignment and windows where queries are fewer than keys, forward and backward."""
    from kalign.training.shared_prefix import attention

    layout = shared_prefix.laid_out(ROWS, longest=70)
    assert layout is not None
    layout = layout.to("cuda")
    torch.manual_seed(0)
    shapes = [(1, count, layout.tokens, 64) for count in (4, heads, heads)]
    given = [torch.randn(shape, device="cuda", dtype=torch.bfloat16, requires_grad=True) for shape in shapes]
    precise = [one.detach().float().requires_grad_() for one in given]
    ours = attention._in_one_kernel(*given, layout, window, None)
    wanted = attention._by_segments(*precise, layout, window, None)
    assert (ours.float() - wanted).abs().max() < 2e-2
    ours.float().square().sum().backward()
    wanted.square().sum().backward()
    for one, other in zip(given, precise, strict=True):
        assert one.grad is not None and other.grad is not None
        assert (one.grad.float() - other.grad).norm() / other.grad.norm() < 2e-2


@pytest.mark.gpu
def test_log_probs_on_a_gpu_in_bfloat16_are_those_of_padded_rows(tmp_path: Path) -> None:
    for name in FAMILIES:
        models = [model_of(name).to("cuda", torch.bfloat16) for _ in range(2)]
        ours, theirs = (
            trainer(model, tmp_path, share=share, use_cpu=False)
            for model, share in zip(models, (True, False), strict=True)
        )
        sums = [logps_on_gpu(made).sum(dim=1) for made in (ours, theirs)]
        scored = sum(len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in ROWS)
        assert (sums[0] - sums[1]).abs().sum() / scored < 2e-2, name


def logps_on_gpu(made: PairTrainer) -> torch.Tensor:
    batch = made._prepare_inputs(made.data_collator(ROWS))
    batch["shared_prefix"] = batch["shared_prefix"].to("cuda") if "shared_prefix" in batch else None
    labels = batch["input_ids"].masked_fill(batch.pop("completion_mask") == 0, -100)
    with torch.autocast("cuda", torch.bfloat16), torch.no_grad():
        answer: torch.Tensor = made.model(
            **batch, labels=labels, fused_lm_head=True, use_cache=False
        ).log_probs
    return answer
