"""The panel that is asked while a model learns: it sees what the answers become, and changes nothing."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kalign.config import compose
from kalign.errors import ConfigError
from kalign.training import panel
from tests.conftest import Result, history, only_run
from tests.training.looks import looks

pytestmark = pytest.mark.slow
Kalign = Callable[..., Result]
ASKED = ("evaluation.panel_every=2", "evaluation.panel_prompts=4")


def numbers(run: Path) -> list[dict[str, Any]]:
    """The curves of a run, without how long anything took."""
    timed = ("runtime", "per_second")
    return [{key: log[key] for key in log if not key.endswith(timed)} for log in history(run)]


def test_a_panel_is_asked_and_the_training_is_the_same_bit_for_bit(
    kalign_here: Kalign, short: list[str]
) -> None:
    words = [*short, "adapter.lora_dropout=0.3", "trainer.save_total_limit=9"]  # dropout draws numbers
    words += ["trainer.pairs_per_step=4", "evaluation.max_new_tokens=4"]
    assert kalign_here("train", *words, "runs_dir=plain").returncode == 0
    done = kalign_here("train", *words, *ASKED, "runs_dir=asked")
    assert done.returncode == 0, done.stderr[-2000:]
    plain, asked = only_run(Path("plain")), only_run(Path("asked"))
    adapter = "adapter/adapter_model.safetensors"
    assert (plain / adapter).read_bytes() == (asked / adapter).read_bytes()
    assert numbers(plain) == numbers(asked)
    assert not (plain / "panel.jsonl").exists()
    assert [look["step"] for look in looks(asked)] == [0, 2, 4]
    for look in looks(asked):
        assert look["harmful"]["prompts"] == look["benign"]["prompts"] == 2
        assert 0 < look["tokens"]["value"] <= 4
        assert len({one["id"] for one in look["answers"]}) == 4
    assert "step    2/4  panel  safe 0.0000  benign refused 0.0000  tokens" in done.stderr

    resumed = Path("resumed") / asked.name
    shutil.copytree(asked, resumed)
    (resumed / "result.json").unlink()
    shutil.rmtree(resumed / "checkpoints/checkpoint-4")
    before = looks(asked)
    (resumed / "panel.jsonl").write_text(
        "".join(json.dumps(look) + "\n" for look in [*before[:2], {**before[2], "tokens": None}]),
        encoding="utf-8",
    )
    assert kalign_here("train", *words, *ASKED, "runs_dir=resumed").returncode == 0
    assert looks(resumed) == before  # what was seen after the checkpoint is seen anew
    assert (resumed / adapter).read_bytes() == (plain / adapter).read_bytes()


def test_a_panel_is_harmful_prompts_with_their_twins_spread_over_the_categories() -> None:
    asked = panel.asked(compose.load(["recipe=tiny", "evaluation.panel_every=5"]))
    harmful, benign = asked[:12], asked[12:]
    assert {one.kind for one in harmful} == {"harmful"}
    assert [one.twin for one in benign] == [one.id for one in harmful]
    assert sorted({one.category for one in harmful}) == list("ABCDEFGHIJKL")


@pytest.mark.parametrize(("count", "fits"), [(7, 6), (400, 240)])
def test_a_panel_that_the_pack_cannot_fill_is_refused(count: int, fits: int) -> None:
    recipe = compose.load(["recipe=tiny", "evaluation.panel_every=5", f"evaluation.panel_prompts={count}"])
    with pytest.raises(ConfigError, match=f"panel_prompts={count} is no even number.*; use {fits}"):
        panel.asked(recipe)


def test_a_pack_without_twins_has_no_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel.behaviour, "prompts", lambda pack: [])
    with pytest.raises(ConfigError, match="pack ko holds out none; use evaluation.panel_every=0"):
        panel.asked(compose.load(["recipe=tiny", "evaluation.panel_every=5"]))


def test_a_method_without_pairs_has_no_panel() -> None:
    with pytest.raises(ConfigError, match="use evaluation.panel_every=0"):
        compose.load(["recipe=tiny_align", "evaluation.panel_every=5"])
