"""kalign eval suite=align: a run beside its base and controls, any folder of weights, what is refused."""

import io
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from kalign import files
from kalign.associations import asking, hearing
from kalign.associations.evaluate import Questions
from kalign.config import compose
from kalign.errors import IntegrityError
from tests.conftest import Result

Kalign = Callable[..., Result]
MODEL = ["model=bundled:words", "family=words"]  # the family says at once what the template promises
BARE = ["recipe=tiny_align", "survey=null", "lexicon=null"]


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
    for words in ("control: the same budget", "survey axis", "rank reward", lists[0]["response"]):
        assert words in page
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


def test_any_folder_of_weights_is_measured_with_a_recipe(kalign_here: Kalign) -> None:
    done = kalign_here("eval", "suite=align", *MODEL, *BARE, "other=null", "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert (list(made["arms"]), made["changes"], made["other"]) == (["model"], {}, None)
    assert made["arms"]["model"]["own"]["p@5_top5"]["value"] < 0.4
    assert "survey= is not given" in done.stderr
    [folder] = Path("evals").iterdir()
    assert folder.name.startswith("align-bundled-words-")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "model is missing"),
        ([*MODEL], "was not trained on word associations, so nothing says what it is asked"),
        ([*MODEL, "arms.base=bundled:tiny", *BARE], "arms.base cannot name a control"),
        ([*MODEL, "base=true", *BARE], "is a whole model"),
        ([*MODEL, "shot=food", *BARE], "shot=CUE shows the base an example"),
        ([*MODEL, *BARE[:1], "lexicon=mine.tsv"], "needs its scales"),
        ([*MODEL, *BARE[:1], "survey=mine.jsonl", "source=null"], "needs source=COUNTRY"),
        ([*MODEL, "suvey=null"], "did you mean survey"),
        ([*MODEL, "recipe=align_us"], "data.path is not set"),
        (["model=endpoint:openai", *BARE], "is an endpoint, which gives no log-likelihoods"),
    ],
)
def test_wrong_words_are_refused_before_a_model_is_loaded(
    words: list[str], said: str, kalign_here: Kalign
) -> None:
    refused = kalign_here("eval", "suite=align", *words)
    assert refused.returncode == 2
    assert said in refused.stderr
    assert not Path("evals").exists()


def test_one_model_under_two_names_is_refused(kalign_here: Kalign) -> None:
    refused = kalign_here("eval", "suite=align", *MODEL, "base=bundled:words", *BARE)
    assert (refused.returncode, "have the same weights" in refused.stderr) == (4, True)


class Scripted:
    """A model that says its own number of calls, until it is killed."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def answers(self, conversations: Sequence[Any]) -> list[str]:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return [conversation[-1].content for conversation in conversations]

    def logprobs(self, conversations: Sequence[Any], replies: Sequence[str]) -> list[float]:
        return [float(-len(reply)) for reply in replies]


def asked() -> Questions:
    return asking.questions(
        compose.load(["recipe=tiny_align"]),
        asking.Beside(survey="bundled:survey", source="shore", target="hill"),
    )


def test_a_model_killed_while_it_answers_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "CHUNK", 8)
    questions, quiet = asked(), Console(file=io.StringIO())
    given: dict[str, Any] = {"whose": {"name": "scripted"}, "console": quiet, "name": "scripted"}
    whole = hearing.collect(tmp_path / "whole.jsonl", questions, lambda: Scripted(99), **given)
    assert [len(whole[part]) for part in hearing.PARTS] == [20, 40, 48]
    for calls in (1, 4, 6):
        path = tmp_path / f"{calls}.jsonl"
        with pytest.raises(KeyboardInterrupt):
            hearing.collect(path, questions, partial(Scripted, calls), **given)
        assert hearing.collect(path, questions, partial(Scripted, 8 - calls), **given) == whole
        assert path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    hearing.collect(path, questions, lambda: pytest.fail("nothing is left to ask"), **given)
    with pytest.raises(IntegrityError, match="of another model"):
        hearing.collect(path, questions, lambda: Scripted(99), **given | {"whose": {"name": "other"}})
