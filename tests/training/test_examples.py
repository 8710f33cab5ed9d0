"""Trainings on word associations, as a user starts them, on the bundled model: SFT with LoRA+ and RLOO."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from transformers import TrainerControl, TrainerState

from kalign.associations import tasks
from kalign.config import Recipe, Reward, compose
from kalign.errors import NumericError
from kalign.models import loading, promises
from kalign.runs import Run
from kalign.training import examples, guards, sft
from tests.conftest import Result, history, only_run

pytestmark = pytest.mark.usefixtures("one_thread")

Kalign = Callable[..., Result]
SHORT = ["trainer.max_steps=4", "trainer.save_steps=2", "trainer.logging_steps=1", "evaluation.generations=2"]
SMALL = ["trainer.pairs_per_step=16", "trainer.per_device_train_batch_size=8"]


def train(kalign: Kalign, *words: str) -> Path:
    done = kalign("train", *words)
    assert done.returncode == 0, done.stderr[-3000:]
    return only_run(Path("runs"))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["tiny_align", "tiny_align_rank"])
def test_stopped_in_the_middle_the_same_command_ends_with_the_same_weights(
    recipe: str, kalign_here: Kalign
) -> None:
    words = [f"recipe={recipe}", *SHORT, *SMALL, "evaluation.held_out_prompts=false"]
    run = train(kalign_here, *words)
    whole = json.loads((run / "result.json").read_text(encoding="utf-8"))
    curves = history(run)
    for made in ("result.json", "adapter", "checkpoints/checkpoint-4"):
        path = run / made
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    again = train(kalign_here, *words)
    resumed = json.loads((again / "result.json").read_text(encoding="utf-8"))
    assert resumed["adapter_sha256"] == whole["adapter_sha256"]
    assert resumed["held_out"] == whole["held_out"]
    key = "loss" if recipe == "tiny_align" else "reward"
    assert [log[key] for log in history(again) if key in log] == [log[key] for log in curves if key in log]
    if recipe == "tiny_align_rank":
        assert curves[0]["kl"] == pytest.approx(0, abs=1e-6)  # the reference is the base
    finished = kalign_here("train", *words)
    assert "is finished; nothing was changed" in finished.stdout


GRPO = ["recipe=tiny_align_rank", "method=grpo", "trainer.warmup_steps=0", *SHORT, *SMALL]


@pytest.mark.parametrize("reward", ["spearman_strict", "spearman_compat"])
def test_grpo_is_rewarded_by_either_reward_and_starts_at_its_base(reward: str, kalign_here: Kalign) -> None:
    run = train(
        kalign_here,
        *GRPO,
        "evaluation.held_out_prompts=false",
        f"reward.name={reward}",
        "trainer.max_steps=2",
    )
    first, second = [log for log in history(run) if "reward" in log]
    assert first["kl"] == pytest.approx(0, abs=1e-6)  # the reference is the base
    assert second["kl"] != 0
    for log in (first, second):
        assert -1 <= log["reward"] <= 1
        assert log["reward_std"] > 0
        assert log["grad_norm"] > 0
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert (result["method"], result["steps"]) == ("grpo", 2)
    assert set(result["held_out"]) >= {"spearman_strict", "spearman_compat", "format_rate"}


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (["reward.max_kl=1e-9"], "the KL to the base is"),
        (["trainer.learning_rate=0.5", "reward.max_kl=1e9", "reward.window=1"], "the mean reward fell from"),
    ],
)
def test_a_training_whose_reward_or_kl_runs_away_is_stopped(
    limits: list[str], said: str, kalign_here: Kalign
) -> None:
    stopped = kalign_here("train", *GRPO, "evaluation.held_out_prompts=false", *limits)
    assert stopped.returncode == 6
    assert said in stopped.stderr
    assert "the last checkpoint is untouched" in stopped.stderr
    [run] = Path("runs").iterdir()
    assert not (run / "result.json").exists()


def built(tmp_path: Path, *words: str) -> tuple[Recipe, sft.AnswerTrainer, Any]:
    """The trainer of a recipe, before its first step."""
    recipe = compose.load(["recipe=tiny_align", f"runs_dir={tmp_path}", *words])
    run = Run(tmp_path / "run")
    located = loading.locate(recipe.model)
    chat = promises.load_chat(recipe.model, located)
    read = tasks.examples(recipe)
    examples.prepare(recipe, run, located, chat, read, Console(file=io.StringIO()))
    return recipe, sft.build(recipe, run, located, chat, read), read


def test_only_answers_are_learned_and_they_are_whole(tmp_path: Path) -> None:
    _, trainer, read = built(tmp_path)
    tokenizer = trainer.processing_class
    for row, example in zip(trainer.train_dataset, read.train, strict=True):
        learned = [token for token in row["labels"] if token != sft.IGNORED]
        assert tokenizer.decode(learned) == f"{example.answer}{tokenizer.eos_token}"
        prompt = tokenizer.decode(row["input_ids"][: len(row["input_ids"]) - len(learned)])
        assert prompt == f"<bos><user>{example.prompt[0].content}<end><assistant>"


def test_with_lora_plus_the_b_matrices_learn_faster(tmp_path: Path) -> None:
    recipe, trainer, _ = built(tmp_path, "sft.loraplus_lr_ratio=16")
    names = {id(weight): name for name, weight in trainer.model.named_parameters()}
    rates: dict[str, set[float]] = {"lora_A": set(), "lora_B": set()}
    for group in trainer.create_optimizer().param_groups:
        for weight in group["params"]:
            part = next(part for part in rates if part in names[id(weight)])
            rates[part].add(round(group["lr"], 9))
    assert rates == {
        "lora_A": {recipe.trainer.learning_rate},
        "lora_B": {round(16 * recipe.trainer.learning_rate, 9)},
    }


def logged(rewards: list[float], kl: float = 0.1, **limits: float) -> None:
    """Show the guard a training's logs, one by one."""
    guard = guards.Rewards(Reward(window=2, **limits), span=2.0)  # type: ignore[arg-type]
    state = TrainerState()
    for step, reward in enumerate(rewards, start=1):
        log = {"reward": reward, "kl": kl, "step": step}
        state.log_history.append(log)
        state.global_step = step
        guard.on_log(None, state, TrainerControl(), log)  # type: ignore[arg-type]


def test_a_reward_that_collapses_stops_the_training() -> None:
    logged([0.5, 0.5, 0.2, 0.15])  # fell by less than a fifth of its range
    with pytest.raises(NumericError, match=r"fell from 0.500 to 0.050 by step 4, more than reward.max_drop"):
        logged([0.5, 0.5, 0.1, 0.0])
    with pytest.raises(NumericError, match="fell from"):
        logged([0.5, 0.5, float("nan"), 0.5])


def test_a_policy_that_runs_away_from_its_base_stops_the_training() -> None:
    logged([0.5], kl=0.9)
    for kl in (1.1, -1.1, float("nan")):
        with pytest.raises(NumericError, match=r"beyond reward.max_kl=1"):
            logged([0.5], kl=kl)


def test_examples_that_are_too_long_are_refused_rather_than_cut(tmp_path: Path, kalign_here: Kalign) -> None:
    refused = kalign_here("train", "recipe=tiny_align", "data.max_length=24", f"runs_dir={tmp_path}")
    assert refused.returncode == 3
    assert "are longer than data.max_length=24 tokens" in refused.stderr


def test_only_pairs_can_be_planned(kalign_here: Kalign) -> None:
    refused = kalign_here("plan", "recipe=tiny_align")
    assert refused.returncode == 2
    assert "method=sft cannot be planned yet" in refused.stderr
