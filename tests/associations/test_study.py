"""The whole study on the bundled cultures, one seed; and its runs, each measured by itself."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kalign import cli, files
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


@pytest.fixture
def arms(document: dict[str, Any]) -> dict[str, str]:
    return dict(document["seeds"][0]["runs"])


def evaluated(kalign: Kalign, arms: dict[str, str], *more: str) -> dict[str, Any]:
    controls = [f"arms.{name}={arms[name]}" for name in ("shuffled", "other")]
    done = kalign("eval", "suite=align", f"model={arms['sft']}", "base=true", *controls, "out=made", *more)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(Path("made/eval.json").read_text(encoding="utf-8"))) | {"said": done.stdout}


@pytest.mark.slow
def test_a_run_is_measured_like_in_its_study(
    kalign_here: Kalign, arms: dict[str, str], document: dict[str, Any]
) -> None:
    made = evaluated(kalign_here, arms, "shot=anniversary")
    study = document["seeds"][0]
    for name, arm in (("model", "sft"), ("base", "base"), ("shuffled", "shuffled"), ("other", "other")):
        for part in ("own", "other", "ranking"):
            for number, found in study["arms"][arm][part].items():
                assert made["arms"][name][part][number] == found
    felt, known = made["affect"]["concreteness"], study["affect"]["concreteness"]
    assert felt["model"]["coverage"] == known["sft"]["coverage"]
    assert made["survey"]["arms"]["model"] == study["survey"]["arms"]["sft"]
    assert (
        made["arms"]["model"]["own"]["p@50_any"]["value"] < made["arms"]["model"]["own"]["p@5_any"]["value"]
    )
    assert made["arms"]["base_shot"]["own"] != made["arms"]["base"]["own"]
    assert "The shuffled control changes by" in made["said"]
    rows = [row for _, row in files.read_parquet(Path("made/scores.parquet"))]
    lists = [row for row in rows if (row["arm"], row["part"]) == ("model", "lists")]
    assert len(lists) == made["cues"]
    mean = sum(row["p@5_top5"] for row in lists) / len(lists)
    assert mean == pytest.approx(made["arms"]["model"]["own"]["p@5_top5"]["value"])
    shown = kalign_here("report", "made")
    assert shown.returncode == 0, shown.stderr
    page = Path("made/report.html").read_text(encoding="utf-8")
    for shows in ("control: the same budget", "survey axis", "rank reward", lists[0]["response"]):
        assert shows in page
    refused = kalign_here("eval", "compare", "made", "made")
    assert (refused.returncode, "arms.NAME=RUN" in refused.stderr) == (2, True)


@pytest.mark.slow
def test_what_was_asked_is_not_asked_again_and_other_answers_are_refused(
    kalign_here: Kalign, arms: dict[str, str]
) -> None:
    first = evaluated(kalign_here, arms, "survey=null")
    whole = Path("made/answers/model.jsonl").read_bytes()
    Path("made/answers/model.jsonl").write_bytes(whole[: len(whole) - 40])  # killed while it wrote
    again = evaluated(kalign_here, arms, "survey=null")
    assert Path("made/answers/model.jsonl").read_bytes() == whole
    assert "Asking model" in again.pop("said") and "Asking base" not in first["said"].split("Asking model")[1]
    assert again == {key: value for key, value in first.items() if key != "said"}
    controls = [f"model={arms['sft']}", "base=true", "out=made"]
    refused = kalign_here("eval", "suite=align", *controls, "survey=null", "max_new_tokens=12")
    assert (refused.returncode, "holds answers of another model" in refused.stderr) == (4, True)


@pytest.mark.slow
def test_cues_that_a_control_was_trained_on_are_left_out(
    kalign_here: Kalign, arms: dict[str, str], tmp_path: Path
) -> None:
    short = ["trainer.max_steps=1", "evaluation.held_out_prompts=false", f"runs_dir={tmp_path / 'runs'}"]
    done = kalign_here("train", "recipe=tiny_align", "data.seed=2", "associations.shuffle_cues=true", *short)
    assert done.returncode == 0, done.stderr
    [run] = (tmp_path / "runs").iterdir()
    words = [f"model={arms['sft']}", f"arms.shuffled={run}", "survey=null", "lexicon=null", "out=made"]
    done = kalign_here("eval", "suite=align", *words)
    assert done.returncode == 0, done.stderr
    made = json.loads(Path("made/eval.json").read_text(encoding="utf-8"))
    assert made["suite"]["cues_left_out"] > 0
    assert made["cues"] == 20 - made["suite"]["cues_left_out"]
    assert "held-out cues are left out" in done.stdout
    assert "Without base= nothing is compared" in done.stdout


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
