"""The whole study on the bundled cultures, one seed, and the commands that look at norms."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kalign import cli, files
from kalign.config import Columns
from kalign.data import layouts
from tests.associations.conftest import words
from tests.conftest import Result

Kalign = Callable[..., Result]


def mean(document: dict[str, Any], arm: str, part: str = "own", name: str = "p@5_top5") -> float:
    return float(document["mean"][arm][part][name]["value"])


@pytest.mark.slow
def test_fine_tuning_learns_the_own_culture_and_leaves_the_other(document: dict[str, Any]) -> None:
    assert mean(document, "sft") >= mean(document, "base") + 0.3
    assert mean(document, "sft", "other") <= mean(document, "base", "other") - 0.2
    assert document["seeds"][0]["changes"]["sft"]["own"]["p@5_top5"]["low"] > 0.2
    assert document["seeds"][0]["changes"]["sft"]["contrast"]["p@5_top5"]["low"] > 0.2
    assert mean(document, "sft", name="format_rate") >= 0.85


@pytest.mark.slow
def test_the_controls_learn_no_own_culture(document: dict[str, Any]) -> None:
    for control in ("shuffled", "other"):
        assert mean(document, control) <= mean(document, "base") + 0.1
    assert mean(document, "other", "other") >= mean(document, "base", "other") - 0.1


@pytest.mark.slow
def test_a_reward_is_not_lowered_and_the_damage_to_the_other_task_is_told(document: dict[str, Any]) -> None:
    base, rank, tuned = (mean(document, arm, "ranking", "spearman_strict") for arm in ("base", "rank", "sft"))
    assert rank >= base - 0.05
    assert tuned < base - 0.3  # as in the publication, where rankings collapse after SFT


@pytest.mark.slow
def test_affect_moves_towards_the_people_whose_words_were_learned(document: dict[str, Any]) -> None:
    concrete = document["seeds"][0]["affect"]["concreteness"]
    assert abs(concrete["sft"]["mean_of_medians"] - concrete["human"]["mean_of_medians"]) < 0.2
    assert concrete["base"]["mean_of_medians"] < concrete["human"]["mean_of_medians"] - 0.5
    assert concrete["sft"]["closer_than_base"]["holm"] < 0.05


@pytest.mark.slow
def test_the_survey_is_measured_beside_its_control(folder: Path, document: dict[str, Any]) -> None:
    arms = document["seeds"][0]["survey"]["arms"]
    assert arms["sft"]["shift"]["low"] > 0
    assert arms["sft"]["tension"]["items"] == 48
    page = (folder / "out" / "report.html").read_text(encoding="utf-8")
    assert "Cross-task damage" in page
    assert "control: the same budget" in page


@pytest.mark.slow
def test_the_same_study_again_trains_and_asks_nothing(folder: Path, document: dict[str, Any]) -> None:
    kept = [path for path in folder.rglob("*") if path.is_file() and path.suffix in (".json", ".safetensors")]
    made = {path: path.stat().st_mtime_ns for path in kept if path.name != "study.json"}
    assert cli.run(words(folder)) == 0
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert json.loads((folder / "out" / "study.json").read_text(encoding="utf-8"))["mean"] == document["mean"]


def test_norms_are_shown_with_their_licence(kalign_here: Kalign, tmp_path: Path) -> None:
    said = kalign_here("norms", "check", "bundled:shore", "--json")
    document = json.loads(said.stdout)
    assert document["facts"]["cues"] == 96
    assert "invented" in document["licence"]
    path = tmp_path / "bad.csv"
    path.write_text("src,tgt,wt\nsea,fish,3\nsea,salt,x\n", encoding="utf-8")
    refused = kalign_here("norms", "check", str(path))
    assert (refused.returncode, f"{path}:3: wt is 'x'" in refused.stderr) == (3, True)
    assert kalign_here("norms", "check").returncode == 2


def test_pairs_of_norms_are_what_dpo_reads(kalign_here: Kalign, tmp_path: Path) -> None:
    out = tmp_path / "pairs.jsonl"
    plain = ["associations.prompts=plain", "associations.top_k=5", f"out={out}"]
    done = kalign_here("norms", "pairs", "bundled:hill", "other=bundled:shore", "other_culture=shore", *plain)
    assert done.returncode == 0, done.stderr
    rows = [row for _, row in files.read_jsonl(out)]
    assert {row["rejected_kind"] for row in rows} == {"ranking", "culture:shore"}
    for row in rows:
        assert layouts.triplet(row, Columns(), row["id"]).chosen[0].content == row["chosen"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["seeds=one"], "seeds=one are no numbers"),
        (["chain=maybe"], "chain=maybe must be true or false"),
        (["recipe=tiny"], "a study starts from sft"),
        (["rank=tiny_align"], "use one with rloo or grpo"),
        (["survey=items.txt"], "use .jsonl, .json or .csv"),
        (["scales=valence"], "is no scale"),
    ],
)
def test_a_study_that_cannot_be_is_refused_before_it_trains(
    more: list[str], said: str, kalign_here: Kalign
) -> None:
    refused = kalign_here("study", "align", *more)
    assert refused.returncode == 2
    assert said in refused.stderr
    assert not Path("runs").exists()
