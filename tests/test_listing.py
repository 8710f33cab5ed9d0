import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from kalign import runs
from kalign.runs import Run
from tests.conftest import Result

Kalign = Callable[..., Result]


def made(name: str, beta: float, accuracy: float | None) -> None:
    """A run folder as training leaves it, finished if it has an accuracy."""
    folder = Path("runs") / name
    (folder / "checkpoints/checkpoint-3").mkdir(parents=True)
    recipe = {"name": "tiny", "loss": {"beta": beta, "loss_type": "sigmoid"}, "runs_dir": "runs"}
    (folder / "manifest.json").write_text(json.dumps({"recipe": recipe}), encoding="utf-8")
    if accuracy is not None:
        value = {"value": accuracy, "low": accuracy - 0.1, "high": accuracy + 0.1}
        held_out = {"reward_accuracy": {"after": value}, "reward_margin": {"after": value}}
        result = {"steps": 4, "held_out": held_out}
        (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


@pytest.fixture
def three() -> None:
    made("tiny-a", 0.1, 0.6)
    made("tiny-b", 0.5, 0.8)
    made("tiny-<c>", 0.9, None)


@pytest.mark.usefixtures("three")
def test_every_run_is_listed_with_its_state_and_its_results_with_intervals(kalign_here: Kalign) -> None:
    listed = json.loads(kalign_here("runs", "--json").stdout)
    by_name = {each["run"]: each for each in listed["runs"]}
    assert by_name["tiny-a"]["results"]["reward_accuracy"] == {"value": 0.6, "low": 0.5, "high": 0.7}
    assert (by_name["tiny-<c>"]["state"], by_name["tiny-<c>"]["steps"]) == ("stopped", 3)
    assert "tiny-b" in kalign_here("runs").stdout


@pytest.mark.usefixtures("three")
def test_two_runs_are_compared_by_what_differs(kalign_here: Kalign) -> None:
    compared = json.loads(kalign_here("runs", "tiny-a", "runs/tiny-b", "--json").stdout)
    assert compared["differing"] == {"loss.beta": [0.1, 0.5]}
    assert "loss.beta" in kalign_here("runs", "tiny-a", "tiny-b").stdout


@pytest.mark.usefixtures("three")
def test_the_page_draws_each_finished_run_and_fetches_nothing(kalign_here: Kalign) -> None:
    assert kalign_here("runs", "out=page.html").returncode == 0
    page = Path("page.html").read_text(encoding="utf-8")
    assert len(re.findall("<polyline", page)) == 2
    assert ">loss.beta</text>" in page
    assert "tiny-&lt;c&gt;" in page
    assert "http:" not in page and "https:" not in page
    assert "<script" not in page


def test_a_folder_that_is_no_run_is_refused(kalign_here: Kalign) -> None:
    refused = kalign_here("runs", "none")
    assert (refused.returncode, "is no run's folder" in refused.stderr) == (2, True)
    assert kalign_here("runs", "runs_dir=nowhere").returncode == 2


@pytest.mark.usefixtures("three")
def test_a_damaged_run_is_listed_as_such_and_hides_no_other(kalign_here: Kalign) -> None:
    for name, manifest in {"torn": '{"recipe": ', "empty": "{}", "list": "[1]"}.items():
        Path("runs", name).mkdir()
        Path("runs", name, "manifest.json").write_text(manifest, encoding="utf-8")
    Path("runs/tiny-<c>/checkpoints/checkpoint-9-copy").mkdir()
    shown = kalign_here("runs", "--json")
    listed = json.loads(shown.stdout)
    assert Counter(each["state"] for each in listed["runs"]) == {"finished": 2, "stopped": 1, "damaged": 3}
    assert set(listed["differing"]) == {"loss.beta"}
    assert len(listed["differing"]["loss.beta"]) == 6
    assert "runs/torn is not as a training leaves it" in shown.stderr
    named = kalign_here("runs", "tiny-a", "torn")
    assert (named.returncode, len(named.stderr.splitlines())) == (3, 1)


def test_a_narrow_table_keeps_the_names_of_runs_whole(
    kalign_here: Kalign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    made("my_long_recipe-1a2b3c4d", 0.1, 0.6)
    assert "my_long_recipe-1a2b3c4d" in kalign_here("runs").stdout


@pytest.mark.usefixtures("three")
def test_a_page_that_cannot_be_written_is_said_in_one_sentence(kalign_here: Kalign) -> None:
    refused = kalign_here("runs", "out=/proc/none/page.html")
    assert (refused.returncode, "cannot be written" in refused.stderr.splitlines()[-1]) == (7, True)


@pytest.mark.usefixtures("three")
def test_a_run_that_is_trained_right_now_is_not_called_stopped(kalign_here: Kalign) -> None:
    with runs.locked(Run(Path("runs/tiny-<c>"))):
        listed = json.loads(kalign_here("runs", "--json").stdout)["runs"]
    assert [each["state"] for each in listed if each["run"] == "tiny-<c>"] == ["running"]
