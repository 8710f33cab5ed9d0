"""A budget of tokens deals a step's pairs otherwise, and changes nothing that a step is the mean of."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from transformers import TrainerCallback

from kalign.config import compose, training
from kalign.errors import ConfigError
from kalign.training import arguments, micro_batches
from kalign.training.micro_batches import MicroBatches, Plan, dealt, most, planned
from kalign.training.order import StepOrder
from kalign.training.trainer import PairTrainer
from tests.conftest import Result, only_run
from tests.training.conftest import Jobs
from tests.training.shared_prefix import twins
from tests.training.test_preemption import STEP, curves, job, weights

pytestmark = pytest.mark.usefixtures("one_thread")

CHANCE = random.Random(7)
LENGTHS = [(CHANCE.randint(1, 30), CHANCE.randint(1, 25), CHANCE.randint(1, 25)) for _ in range(21)]
NAMES = ("prompt_ids", "chosen_ids", "rejected_ids")
ROWS = [
    {
        name: [CHANCE.randrange(10, 500) for _ in range(length)]
        for name, length in zip(NAMES, some, strict=True)
    }
    for some in LENGTHS
]
IN_A_STEP = 8  # of 21 pairs: the last step of an epoch is filled up


def order() -> StepOrder:
    return StepOrder(len(ROWS), pairs_per_step=IN_A_STEP, seed=1)


def plan(budget: int, ranks: int = 1, steps: int = 4) -> Plan:
    return planned(ROWS, order(), steps=steps, budget=budget, ranks=ranks)


class Gradients(TrainerCallback):
    """The gradient of each step, before it is clipped."""

    def __init__(self) -> None:
        self.seen: list[dict[str, torch.Tensor]] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self.seen.append({n: w.grad.clone() for n, w in model.named_parameters() if w.grad is not None})


def learned(out: Path, dealing: Plan | None, **options: Any) -> tuple[PairTrainer, Gradients]:
    """Four steps, with the pairs of a step one by one, or dealt."""
    own, gradients = order(), Gradients()
    made = twins.trainer(
        twins.model_of("qwen3"),
        out,
        share=True,
        data=Dataset.from_list(ROWS),
        order=own,
        plan=dealing,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=dealing.micro_batches if dealing else IN_A_STEP,
        max_steps=4,
        max_grad_norm=0.0,
        learning_rate=1e-3,
        eval_strategy="steps",
        eval_steps=2,
        **options,
    )
    made.add_callback(gradients)
    made.train()
    return made, gradients


@pytest.mark.parametrize(
    "loss", [{"loss_type": "ipo"}, {"loss_type": ["sigmoid", "hinge"], "ld_alpha": 0.5}], ids=str
)
def test_losses_metrics_gradients_and_weights_are_those_of_one_pair_at_a_time(
    loss: dict[str, Any], tmp_path: Path
) -> None:
    """Four steps of three an epoch: the third is filled up, the fourth is of another epoch."""
    dealing = plan(150)
    sizes = {len(places) for places in MicroBatches(dealing, order(), rank=0)}
    assert dealing.micro_batches < IN_A_STEP and len(sizes) > 1  # or every weight would be 1
    ours, gradients = learned(tmp_path, dealing, **loss)
    theirs, wanted = learned(tmp_path, None, **loss)
    assert ours.state.global_step == theirs.state.global_step == 4
    assert twins.difference(gradients.seen[0], wanted.seen[0]) <= 5e-6
    pairwise = ("loss", "rewards", "logps", "num_tokens")
    for logged, expected in zip(ours.state.log_history, theirs.state.log_history, strict=True):
        for key in (key for key in expected if key.removeprefix("eval_").startswith(pairwise)):
            assert logged[key] == pytest.approx(expected[key], rel=1e-5, abs=1e-5), key
    ends = [
        {name: weight.data for name, weight in made.model.named_parameters() if weight.requires_grad}
        for made in (ours, theirs)
    ]
    assert twins.difference(*ends) < 1.4e-4  # AdamW makes more of the gradients' rounding


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("budget", [1, 90, 200, 10_000])
def test_every_pair_of_a_step_is_dealt_once_and_within_the_budget(ranks: int, budget: int) -> None:
    made = plan(budget, ranks)
    parts = [list(MicroBatches(made, order(), rank=rank)) for rank in range(ranks)]
    assert {len(one) for one in parts} == {3 * made.micro_batches}
    for step in range(3):
        at = slice(step * made.micro_batches, (step + 1) * made.micro_batches)
        seen = [place for one in parts for places in one[at] for place in places]
        assert sorted(seen) == sorted(order().of(0)[step * IN_A_STEP : (step + 1) * IN_A_STEP])
        for together in zip(*(one[at] for one in parts), strict=True):
            assert len({len(places) for places in together}) == 1  # TRL gathers pair by pair
            weight = micro_batches.weight(len(together[0]), made, pairs_per_step=IN_A_STEP)
            assert weight > 0
    longest = max(map(micro_batches.tokens_of, ROWS))
    assert made.most <= max(budget, longest)
    if made.micro_batches > 1:
        fewer = [
            most(some, dealt(some, micro_batches=made.micro_batches - 1, ranks=ranks))
            for some in ([made.tokens[place] for place in window] for window in windows(4))
        ]
        assert max(fewer) > max(budget, longest)
    assert ("longer than the budget" in made.sentence()) == (made.most > budget)


def windows(steps: int) -> list[list[int]]:
    every = order().of(0) + order().of(1)
    return [every[start : start + IN_A_STEP] for start in range(0, steps * IN_A_STEP, IN_A_STEP)]


def test_long_pairs_and_short_ones_share_micro_batches_and_processes() -> None:
    tokens = [1000, 10, 990, 20, 500, 510, 520, 490]
    loads = [
        [sum(tokens[place] for place in places) for places in parts]
        for parts in dealt(tokens, micro_batches=2, ranks=2)
    ]
    assert max(map(max, loads)) < 1.1 * min(map(min, loads))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["trainer.shared_prefix=false"], "trainer.shared_prefix=false pads them"),
        (["loss.loss_type=[sigmoid,sft]"], "would change loss.loss_type=sft, which is no mean over pairs"),
        (["loss.loss_type=aot"], "would change loss.loss_type=aot"),
        (["trainer.tokens_per_micro_batch=0"], "trainer.tokens_per_micro_batch=0"),
    ],
)
def test_a_budget_that_could_not_be_exact_is_refused(words: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says.replace("[", r"\[")):
        compose.load(["trainer.tokens_per_micro_batch=100", *words])


def test_a_budget_decides_the_run_and_the_devices_must_still_share_a_step_evenly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ["trainer.pairs_per_step=48", "trainer.per_device_train_batch_size=32"]
    with pytest.raises(ConfigError, match="no multiple of 32"):
        compose.load(words)
    recipe = compose.load([*words, "trainer.tokens_per_micro_batch=4096"])
    assert recipe.trainer.accumulation(3) == 16
    with pytest.raises(ConfigError, match="no multiple of 5"):
        recipe.trainer.accumulation(5)
    other = compose.load([*words, "trainer.tokens_per_micro_batch=2048"])
    assert recipe.determining() != other.determining()
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(ConfigError, match="tokens_per_micro_batch was not tried with DeepSpeed"):
        arguments.require_no_deepspeed("trainer.tokens_per_micro_batch")


def test_losses_that_a_budget_is_refused_for_are_those_that_a_micro_batch_decides(tmp_path: Path) -> None:
    """TRL's loss of eight pairs is the mean of that of two and six, except for these."""
    made = twins.trainer(twins.model_of("qwen3"), tmp_path, share=True)
    made.model.eval()
    differ = set()
    for lengths in ([4, 5] * 4, [4] * 4 + [5] * 4):  # the first for losses that sort, the second for tokens
        rows = [{name: [CHANCE.randrange(10, 500) for _ in range(n)] for name in NAMES} for n in lengths]
        for name in training.LOSS_TYPES:
            made.loss_types, made.label_smoothing = [name], 0.1 if name in training.SMOOTHED_LOSSES else 0.0
            whole, two, six = (
                made.compute_loss(made.model, made.data_collator(some)).item()
                for some in (rows, rows[:2], rows[2:])
            )
            if whole != pytest.approx((2 * two + 6 * six) / 8, rel=1e-6):
                differ.add(name)
    assert differ == set(training.BATCH_LOSSES)


def test_a_model_whose_pairs_cannot_share_rows_is_refused(
    kalign_here: Callable[..., Result], short: list[str]
) -> None:
    done = kalign_here(
        "train", *short, "trainer.tokens_per_micro_batch=400", "model.attn_implementation=eager"
    )
    assert done.returncode == 2
    assert "cannot share rows here: model.attn_implementation=eager" in done.stderr


@pytest.mark.slow
def test_one_rank_and_two_and_a_resumed_training_learn_the_same_with_a_budget(
    short: list[str], jobs: Jobs
) -> None:
    budget = [*short, "adapter.lora_dropout=0", "evaluation.generations=0"]
    budget += ["trainer.tokens_per_micro_batch=400", "trainer.max_steps=2", "trainer.eval_strategy=no"]
    done = jobs(
        job(budget, "one", 1),
        job(budget, "killed", 1, STEP),
        job(budget, "killed", 1),
        job(budget, "two", 2),
    )
    assert [one["codes"] for one in done] == [[0], [75], [0], [0, 0]], done
    assert "Each step is dealt into " in done[0]["said"][0]
    assert weights("killed") == weights("one")
    assert curves("killed") == curves("one")
    one, two = (
        load_file(only_run(Path(name)) / "adapter/adapter_model.safetensors") for name in ("one", "two")
    )
    assert twins.difference(two, one) < 2e-4
    for ours, theirs in zip(curves("two"), curves("one"), strict=True):
        for key in theirs.keys() & {"loss", "rewards/margins", "logps/chosen"}:
            assert ours[key] == pytest.approx(theirs[key], rel=1e-5, abs=1e-5), key
