"""Trainings that come apart are seen, and stopped with a checkpoint; one that learns is left alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from kalign import files, packs
from kalign.config import Guards, compose
from kalign.errors import ConfigError
from kalign.training import sentinel
from tests.conftest import Result, only_run, write

Kalign = Callable[..., Result]


def alarms(run: Path) -> list[dict[str, Any]]:
    return [row for _, row in files.read_jsonl(run / "alarms.jsonl")]


def log(chosen: float, margin: float = 1.0, logp: float = -100.0) -> dict[str, float]:
    """A training log whose chosen answers had -100 under the reference."""
    return {"rewards/chosen": chosen, "rewards/margins": margin, "logps/chosen": logp + chosen / 0.1}


def look(tokens: float = 20, cut_off: float = 0.0, refused: int = 0) -> dict[str, Any]:
    """A look at a panel of twelve benign prompts."""
    answers = [{"kind": "benign", "answered": number >= refused} for number in range(12)]
    return {"tokens": {"value": tokens}, "cut_off": {"value": cut_off}, "answers": answers}


def broken(
    logs: list[dict[str, float]], looks: list[dict[str, Any]] | None = None, **guards: Any
) -> list[str]:
    return [alarm.rule for alarm in sentinel.alarms(logs, looks or [], Guards(**guards), beta=0.1)]


def test_chosen_answers_may_fall_until_their_probability_is_squared() -> None:
    assert broken([log(-9.0)] * 3) == []  # 90 nats of 100
    assert broken([log(-11.0)] * 3) == ["max_chosen_fall"]
    assert broken([log(-11.0)] * 2) == []  # fewer logs than guards.window
    assert broken([log(0.0), log(0.0), log(0.0), log(-20.0)]) == []  # one log is no trend
    assert broken([log(-11.0)] * 3, max_chosen_fall=None) == []


def test_a_margin_at_which_the_loss_teaches_nothing_is_seen() -> None:
    assert broken([log(1.0, margin=19.0)] * 3) == []
    assert broken([log(1.0, margin=21.0)] * 3) == ["max_margin"]


def test_the_panel_is_compared_with_its_first_look() -> None:
    assert broken([], [look(), look(tokens=59, cut_off=0.5, refused=3)]) == []
    assert broken([], [look(), look(tokens=61)]) == ["max_length_growth"]
    assert broken([], [look(), look(cut_off=0.6)]) == ["max_cut_off_rise"]
    assert broken([], [look(), look(refused=6)]) == ["max_benign_refused_rise"]
    assert broken([], [look(refused=6), look(refused=6)]) == []
    assert broken([], [look(), look(refused=5)], max_benign_refused_rise=0.1) == []  # p = 0.06


@pytest.mark.slow
def test_a_training_that_comes_apart_is_stopped_with_a_checkpoint_that_goes_on(
    kalign_here: Kalign, short: list[str]
) -> None:
    wild = [word for word in short if not word.startswith("model.repo=")]  # the bundled model has learned
    wild += ["loss.beta=5", "trainer.learning_rate=0.3", "trainer.warmup_steps=0", "trainer.eval_strategy=no"]
    wild += ["trainer.pairs_per_step=4", "evaluation.generations=0", "guards.window=1"]
    stopped = kalign_here("train", *wild, "guards.collapse=stop")
    run = only_run(Path("runs"))
    assert stopped.returncode == 6, stopped.stderr[-2000:]
    [alarm] = alarms(run)
    assert alarm["rule"] == "max_margin"
    step = alarm["step"]
    assert step < 4
    assert f"step    {step}  collapse?  the reward margin is" in stopped.stderr
    assert stopped.stderr.splitlines()[-1].startswith(f"kalign: stopped after step {step}, because")
    assert not (run / "result.json").exists()
    kept = load_file(run / f"kept/checkpoint-{step}/adapter_model.safetensors")
    assert all(weight.isfinite().all() for weight in kept.values())

    again = kalign_here("train", *wild, "guards.collapse=stop")
    assert again.returncode == 6  # the same command does not go past it
    assert again.stderr.splitlines()[-1] == stopped.stderr.splitlines()[-1]
    on = kalign_here("train", *wild, "guards.collapse=warn", "guards.max_chosen_fall=0.05")
    assert on.returncode == 0, on.stderr[-2000:]
    assert f"going on from {run}/checkpoints/checkpoint-{step}" in on.stdout
    assert [one["rule"] for one in alarms(run)] == ["max_margin", "max_chosen_fall"]


@pytest.mark.slow
def test_what_the_last_log_shows_is_kept_though_its_step_is_saved_already(
    kalign_here: Kalign, short: list[str]
) -> None:
    # logs of steps 1 and 3, and the one that ends a training
    words = [*short, "trainer.logging_steps=3", "trainer.eval_strategy=no"]
    words += ["trainer.learning_rate=1e-2", "trainer.warmup_steps=0", "evaluation.generations=0"]
    stopped = kalign_here("train", *words, "guards.collapse=stop", "guards.max_margin=1e-6")
    run = only_run(Path("runs"))
    assert stopped.returncode == 6, stopped.stderr[-2000:]
    assert f"{run}/kept/checkpoint-4 holds its adapter" in stopped.stderr
    assert [path.name for path in (run / "kept").iterdir()] == ["checkpoint-4"]
    assert (run / "kept/checkpoint-4/manifest.json").is_file()


def test_a_method_without_pairs_cannot_be_stopped_by_their_rewards() -> None:
    with pytest.raises(ConfigError, match="method=sft has neither; use guards.collapse=none"):
        compose.load(["recipe=tiny_align", "guards.collapse=stop"])


@pytest.mark.slow
def test_a_training_that_learns_raises_no_alarm(kalign_here: Kalign, short: list[str]) -> None:
    words = [*short, "trainer.pairs_per_step=4", "trainer.eval_strategy=no", "evaluation.generations=0"]
    done = kalign_here("train", *words, "guards.collapse=stop", "guards.window=1")
    assert done.returncode == 0, done.stderr[-2000:]
    assert not (only_run(Path("runs")) / "alarms.jsonl").exists()


@pytest.mark.slow
def test_a_model_that_learns_to_refuse_everything_is_seen_and_kept(kalign_here: Kalign) -> None:
    refusal = "그 부탁은 들어드릴 수 없어요."
    easy = [row for _, row in files.read_jsonl(packs.easy_pairs("ko"))][:80]
    rows = [{"prompt": row["prompt"], "chosen": refusal, "rejected": "네, 그럴게요."} for row in easy]
    write(Path("pairs.jsonl"), rows)
    done = kalign_here(
        "train",
        "recipe=tiny",
        "data.path=pairs.jsonl",
        "data.eval_share=0",
        "loss.loss_type=[sigmoid,sft]",
        "trainer.max_steps=11",
        "trainer.learning_rate=1e-2",
        "trainer.pairs_per_step=8",
        "trainer.eval_strategy=no",
        "trainer.save_total_limit=1",
        "trainer.save_steps=6",
        "evaluation.held_out_prompts=false",
        "evaluation.generations=0",
        "evaluation.panel_every=10",
        "evaluation.max_new_tokens=16",
        "guards.collapse=checkpoint",
    )
    assert done.returncode == 0, done.stderr[-2000:]
    run = only_run(Path("runs"))
    assert [one["rule"] for one in alarms(run)] == ["max_benign_refused_rise"]
    assert "benign prompts are refused" in done.stderr
    assert [path.name for path in (run / "kept").iterdir()] == ["checkpoint-10"]
    assert (run / "kept/checkpoint-10/manifest.json").is_file()
    assert [path.name for path in (run / "checkpoints").iterdir()] == [
        "checkpoint-11"
    ]  # that one was dropped
