"""`kalign plan`: the arithmetic by hand, and the command as a user calls it."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kalign.config import compose, launch
from kalign.data.build import Pair
from kalign.errors import ConfigError
from kalign.models.shapes import Adapted, Matrix, Shape
from kalign.records import Message, Triplet
from kalign.training.planning import flops, knobs, memory, pairs, plan
from kalign.training.planning.flops import Work
from kalign.training.planning.memory import GIB, Load, Sharding
from tests.conftest import Result, pair, write

Kalign = Callable[..., Result]

# Ten matrices of 64 x 32 in five layers, and 100 weights that are never quantised.
SHAPE = Shape(
    model_class="Any",
    known_from="",
    parameters=10 * 2048 + 100,
    quantisable=(Matrix(inputs=32, outputs=64),) * 10,
    body=10 * 2048,
    layers=5,
    hidden=32,
    query=32,
    key_value=16,
    intermediate=64,
    normalised=64,
    vocabulary=1000,
)
LOAD = Load(
    shape=SHAPE,
    adapter=Adapted(trainable=960, matrices=(Matrix(inputs=32, outputs=64),) * 10),
    sharding=Sharding(),
    load_in_4bit=False,
    double_quant=False,
    weight_bytes=2,
    value_bytes=2,
    dropout=False,
    gradient_checkpointing=False,
    optim="adamw_torch",
    pairs_at_once=2,
    pairs_scored_at_once=2,
    longest=100,
    scored=40,
)


def term(load: Load, name: str) -> int:
    return next(term.bytes for term in memory.account(load) if term.name == name)


def test_the_terms_are_those_of_arithmetic_by_hand() -> None:
    assert term(LOAD, "frozen weights") == (20480 + 100) * 2
    assert term(LOAD, "adapter") == term(LOAD, "gradients") == 960 * 4
    assert term(LOAD, "optimizer") == 960 * 8
    # two norms of 32 in float32; queries, repeated keys and values, output; three vectors of 64; two inputs
    layer = 4 * 64 + 2 * (4 * 32 + 3 * 64) + 2 * (32 + 32)
    assert term(LOAD, "activations") == 5 * 400 * layer
    assert term(LOAD, "log-prob head") == 160 * 1000 * 2 + 160 * 32 * (2 + 4)
    assert term(LOAD, "reference pass") == 400 * (layer - 2 * 64)
    assert term(LOAD, "evaluation") == term(LOAD, "workspace") == 0
    assert term(LOAD, "reserve") == round(0.05 * (memory.total(LOAD) - term(LOAD, "reserve")))


def test_four_bits_keep_two_weights_a_byte_and_a_scale_for_each_64() -> None:
    load = memory.changed(LOAD, load_in_4bit=True)
    assert term(load, "frozen weights") == 10 * (1024 + 64 + 32 * 4) + 100 * 2
    assert term(load, "workspace") == 2048 * 2


def test_checkpointing_keeps_the_input_of_each_layer_and_one_layer_whole() -> None:
    load = memory.changed(LOAD, gradient_checkpointing=True)
    layer = memory.layer_bytes_per_token(load, trained=True)
    assert term(load, "activations") == 400 * (5 * 2 * 32 + layer)


def test_a_budget_of_tokens_bounds_the_largest_micro_batch() -> None:
    load = memory.changed(LOAD, row_tokens=150)
    assert term(load, "activations") == 5 * 150 * memory.layer_bytes_per_token(load, trained=True)
    assert term(load, "log-prob head") == 150 * 1000 * 2 + 150 * 32 * (2 + 4)
    assert not any("per_device_train" in knob.words for knob in knobs.suggestions(load, 0))


def test_what_a_profile_divides_is_divided_and_ranks_add_buckets() -> None:
    ddp = memory.changed(LOAD, sharding=Sharding(ranks=4))
    assert term(ddp, "frozen weights") == term(LOAD, "frozen weights")
    assert term(ddp, "gradients") == 2 * term(LOAD, "gradients")
    sharded = memory.changed(LOAD, sharding=Sharding(weights=4, gradients=4, optimizer=4, ranks=4))
    assert term(sharded, "frozen weights") == term(LOAD, "frozen weights") // 4
    assert term(sharded, "optimizer") == term(LOAD, "optimizer") // 4
    assert term(sharded, "workspace") == 2 * 2 * 2048 * 2  # two layers of two matrices in two bytes


def test_a_large_evaluation_is_what_is_needed_beyond_training() -> None:
    large = memory.changed(LOAD, gradient_checkpointing=True, pairs_scored_at_once=64)
    assert term(large, "evaluation") > 0
    assert memory.total(large) > memory.total(memory.changed(large, pairs_scored_at_once=1))


def test_knobs_that_keep_the_result_come_first_and_their_gains_are_the_accounts_own() -> None:
    load = memory.changed(LOAD, longest=100_000)
    [first, *others] = knobs.suggestions(load, 0)
    other = memory.changed(load, gradient_checkpointing=True)
    assert first.words == "trainer.gradient_checkpointing=true"
    assert first.saves_gib == round((memory.total(load) - memory.total(other)) / GIB, 2)
    assert first.needed_gib == round(memory.total(other) / GIB, 2)
    changing = [knob.changes_result for knob in (first, *others)]
    assert changing == sorted(changing)
    needed = [knob.needed_gib for knob in (first, *others)]
    assert needed == sorted(needed, reverse=True)


def test_no_more_knobs_are_named_than_are_needed() -> None:
    load = memory.changed(LOAD, longest=100_000)
    enough = memory.total(memory.changed(load, gradient_checkpointing=True))
    assert [knob.fits for knob in knobs.suggestions(load, enough)] == [True]


def test_what_could_be_spent_is_said() -> None:
    load = memory.changed(LOAD, gradient_checkpointing=True)
    assert "gradient_checkpointing=false" in (knobs.spare(load, 24 * GIB) or "")
    assert knobs.spare(LOAD, 24 * GIB) is None
    assert knobs.spare(load, 1) is None


def test_the_operations_of_a_pair_are_those_of_arithmetic_by_hand() -> None:
    work = Work(padded=200, scored=60, squared=2 * 100**2)
    attention = 4 * 32 * 5 * 2 * 100**2 / 2
    policy = 200 * (4 * 20480 + 6 * 960) + 3.5 * attention + 6 * 60 * 1000 * 32
    reference = 200 * 2 * 20480 + attention + 2 * 60 * 1000 * 32
    count = flops.per_pair(SHAPE, LOAD.adapter, work, gradient_checkpointing=False)
    assert count == policy + reference
    again = flops.per_pair(SHAPE, LOAD.adapter, work, gradient_checkpointing=True)
    assert again - count == 200 * (2 * 20480 + 2 * 960) + attention


def test_a_batch_is_as_wide_as_its_longest_row() -> None:
    triplet = Triplet(
        id="t",
        prompt=(Message(role="user", content="가"),),
        chosen=(Message(role="assistant", content="나"),),
        rejected=(Message(role="assistant", content="다"),),
    )

    def of(prompt: int, chosen: int, rejected: int) -> Pair:
        return Pair(
            triplet=triplet, prompt_ids=[0] * prompt, chosen_ids=[0] * chosen, rejected_ids=[0] * rejected
        )

    alone = pairs.work([of(10, 5, 7), of(20, 1, 3)], 1)
    assert alone == Work(padded=17 + 23, scored=(12 + 4) / 2, squared=17**2 + 23**2)
    together = pairs.work([of(10, 5, 7), of(20, 1, 3)], 2)
    assert together == Work(padded=2 * 23, scored=8, squared=2 * 23**2)


@pytest.mark.parametrize("name", launch.names())
def test_every_profile_is_understood(name: str) -> None:
    assert launch.profile(name).ranks >= 1


def test_a_profile_takes_another_number_of_devices_if_it_can() -> None:
    assert launch.profile("ddp", 8).ranks == 8
    assert not launch.profile("ddp", 8).divides_weights
    zero2, *whole = (launch.profile(name, 8) for name in ("zero2", "zero3", "fsdp2"))
    assert (zero2.divides_weights, zero2.divides_gradients, zero2.divides_optimizer) == (False, True, True)
    assert all(one.divides_weights and one.divides_gradients and one.divides_optimizer for one in whole)
    with pytest.raises(ConfigError, match="use launch=ddp"):
        launch.profile("single", 2)
    with pytest.raises(ConfigError, match="did you mean ddp"):
        launch.profile("dpp")


def test_a_base_in_4_bits_is_not_planned_where_it_cannot_be_divided(kalign_here: Kalign) -> None:
    refused = kalign_here("plan", "recipe=qwen", "launch=fsdp2")
    assert (refused.returncode, "use adapter=lora, or launch=ddp" in refused.stderr) == (2, True)


def test_steps_follow_from_pairs_and_epochs() -> None:
    recipe = compose.load(["recipe=tiny", "trainer.num_train_epochs=3"])  # 16 pairs a step
    assert plan.steps_of(recipe, 33) == 9
    assert plan.steps_of(recipe, None) is None
    recipe.trainer.max_steps = 5
    assert plan.steps_of(recipe, None) == 5


def test_a_change_too_small_for_a_bfloat16_merge_is_said() -> None:
    recipe = compose.load(["recipe=qwen", "trainer.learning_rate=1e-6"])
    [warning] = plan.warnings_of(recipe, 400)
    assert "trainer.learning_rate=1e-06 over 400 steps" in warning
    recipe.trainer.learning_rate = 1e-4
    assert plan.warnings_of(recipe, 400) == []
    recipe.model.dtype = "float32"
    recipe.trainer.learning_rate = 1e-7
    assert plan.warnings_of(recipe, 400) == []


LIKE_TINY = {"square", "markers_dpo"}  # its model again, on other data


@pytest.mark.parametrize("recipe", sorted(set(compose.shipped_recipes()) - LIKE_TINY))
def test_every_recipe_plans_or_says_that_it_cannot_yet(recipe: str, kalign_here: Kalign) -> None:
    method = compose.load([f"recipe={recipe}"]).method
    if method != "dpo":
        refused = kalign_here("plan", f"recipe={recipe}")
        assert (refused.returncode, f"method={method} cannot be planned yet" in refused.stderr) == (2, True)
        return
    done = kalign_here("plan", f"recipe={recipe}", "data.path=pack:ko", "data.format=preference", "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert made["recipe"] == recipe
    assert made["memory"]["fits"]
    assert made["memory"]["needed_gib"] == pytest.approx(
        sum(term["bytes"] for term in made["memory"]["terms"]) / GIB, abs=0.006
    )
    assert made["time"]["hours"] > 0
    assert "Licence of the base" in done.stderr


def test_what_does_not_fit_ends_with_code_7_and_says_what_would_help(kalign_here: Kalign) -> None:
    done = kalign_here("plan", "recipe=tiny", "memory=1.1")
    assert done.returncode == 7
    assert "It does not fit" in done.stdout
    assert "trainer.gradient_checkpointing=true" in done.stdout


def test_what_would_be_dropped_is_counted_and_what_would_stop_is_said(
    tmp_path: Path, kalign_here: Kalign
) -> None:
    rows = [pair(number) for number in range(20)]
    rows[3]["rejected"] = rows[3]["chosen"]
    write(tmp_path / "my.jsonl", rows)
    done = kalign_here("plan", "recipe=tiny", "data=file", "data.path=my.jsonl", "--json")
    data = json.loads(done.stdout)["data"]
    assert data["ledger"]["dropped"] == {"identical": 1}
    assert data["train"] + data["held_out"] == 19
    assert "5.0% of the pairs were dropped" in data["refused"]
    assert done.returncode == 3
    write(tmp_path / "my.jsonl", [pair(number) | {"chosen": "가나 " * 800} for number in range(9)])
    words = ("recipe=tiny", "data=file", "data.path=my.jsonl", "data.max_length=4000")
    long = kalign_here("plan", *words)
    assert (long.returncode, "was made for 1024 (max_position_embeddings" in long.stdout) == (3, True)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("launch=dpp", "did you mean ddp"),
        ("ranks=two", "ranks=two is no int"),
        ("memory=0", "memory=0.0 must be above 0"),
        ("ranks=3", "does not go with launch=single"),
        ("trainer.optim=lomo", "is none whose memory a plan knows"),
        ("tflop=3", "tflop is no setting"),
    ],
)
def test_a_wrong_word_is_refused(word: str, said: str, kalign_here: Kalign) -> None:
    done = kalign_here("plan", "recipe=tiny", word)
    assert done.returncode == 2
    assert said in done.stderr


def test_the_pace_of_an_earlier_run_is_used(tmp_path: Path, kalign_here: Kalign) -> None:
    """The folder is written as a training writes it; that one does is tested with the trainings."""
    recipe = compose.load(["recipe=tiny"])
    run = tmp_path / "runs" / "tiny-12345678"
    run.mkdir(parents=True)
    (run / "manifest.json").write_text(json.dumps({"recipe": dataclasses.asdict(recipe)}), encoding="utf-8")
    pace = {"seconds_per_step": 2.0, "device": "CPU", "peak_gib": None, "ranks": 1}
    (run / "result.json").write_text(json.dumps({"pace": pace}), encoding="utf-8")
    time = json.loads(kalign_here("plan", "recipe=tiny", "--json").stdout)["time"]
    assert time["probe"]["pairs_per_second_and_rank"] == 8.0  # 16 pairs in 2 seconds
    assert time["hours_by_probe"] == pytest.approx(time["steps"] * 2 / 3600, rel=0.01)
    other = kalign_here("plan", "recipe=tiny", "data.max_length=256", "--json")
    assert json.loads(other.stdout)["time"]["probe"] is None
