"""A study with markers in three arms, as a user runs it: equal steps, and both token counts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kalign import files
from kalign.config import Columns, compose
from kalign.data import layouts
from kalign.data.pairs import Pair
from kalign.errors import ConfigError
from kalign.markers import tagging
from kalign.training import written
from tests.conftest import Result
from tests.training.arms import ARMS, tag, trained

Kalign = Callable[..., Result]


@pytest.fixture
def study(short: list[str], pairs_file: Path, kalign_here: Kalign) -> list[str]:
    """The words of a study on forty pairs, ten of them on a holiday, and their tags."""
    tag(kalign_here, pairs_file)
    writing = ["data.markers.completion=true", "loss.loss_type=[sigmoid,sft]", "loss.loss_weights=[1.0,0.5]"]
    steps = ["trainer.max_steps=2", "trainer.save_steps=2"]
    return ["recipe=markers_dpo", *short[1:], *steps, "data.tags=tags", *writing]


@pytest.mark.slow
def test_three_arms_take_equal_steps_and_tell_both_token_counts(
    kalign_here: Kalign, study: list[str]
) -> None:
    by_arm, _ = trained(kalign_here, study)
    plain, marked, more = (by_arm[arm] for arm in ARMS)
    assert plain["tokens_without_markers"] == plain["tokens_with_markers"] == marked["tokens_without_markers"]
    assert marked["tokens_with_markers"] > 1.5 * marked["tokens_without_markers"]
    assert more["tokens_with_markers"] == more["tokens_without_markers"]
    assert more["cultural_share"] == pytest.approx(0.5)
    assert more["most_copies"] > 1 == plain["most_copies"]
    assert more["different_pairs"] < plain["different_pairs"] == marked["different_pairs"]
    assert marked["markers"]["mode"] == "inferred"
    assert set(marked["markers"]["accuracy"]) == {"culture", "domain", "task", "geo", "lang"}
    held = {files.sha256(path) for path in Path("runs").glob("markers_dpo-*/pairs/eval.parquet")}
    assert len(held) == 1  # the same held-out pairs, without a marker, in every arm
    again = kalign_here("train", *study, "data.markers.arm=none", "data.markers.cultural_share=0.5")
    assert "is finished; nothing was changed" in again.stdout
    tagged = [row | {"lang": "en"} for _, row in files.read_parquet(Path("tags/tags.parquet"))]
    files.write_parquet(Path("tags/tags.parquet"), tagged, {each.name: each.type for each in tagging.SCHEMA})
    refused = kalign_here("train", *study, "data.markers.arm=none", "data.markers.cultural_share=0.5")
    assert refused.returncode == 4
    assert "was made from other inputs: data was" in refused.stderr


def test_what_a_model_writes_before_its_answer_is_compared_with_the_tags(study: list[str]) -> None:
    recipe = compose.load([*study, "data.markers.arm=markers", "data.markers.mode=inferred"])
    triplets = [layouts.triplet(dict(row), Columns(), str(n)) for n, row in enumerate(rows(study))]
    pairs = [Pair(triplet=each, prompt_ids=[], chosen_ids=[], rejected_ids=[]) for each in triplets[:4]]
    right = "<culture>general</culture><domain>Culture</domain><geo>none</geo><lang>ko</lang>\n네."
    told = written.compared(recipe, pairs, [right, right, "네.", "<lang>en</lang>\n네."])
    assert told is not None
    assert (told["answers"], told["answers_with_markers"]) == (4, 3)
    values = {name: share["value"] for name, share in told["accuracy"].items()}
    assert values == {"culture": 0.5, "domain": 0.5, "task": 0, "geo": 0.5, "lang": 0.5}


def rows(study: list[str]) -> list[dict[str, Any]]:
    path = next(word.split("=", 1)[1] for word in study if word.startswith("data.path="))
    return [row for _, row in files.read_jsonl(Path(path))]


def test_a_mode_that_the_loss_cannot_teach_is_refused(study: list[str]) -> None:
    words = [*study, "data.markers.arm=markers", "data.markers.mode=inferred"]
    with pytest.raises(ConfigError, match=r"no preference teaches them; use loss.loss_type=\[sigmoid,sft\]"):
        compose.load([word for word in words if not word.startswith("loss.")])
    with pytest.raises(ConfigError, match="give data.markers.fixed"):
        compose.load([*study, "data.markers.mode=fixed", "evaluation.held_out_prompts=true"])
