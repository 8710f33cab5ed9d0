"""kalign eval suite=align: any folder of weights, a model killed while it answers, and what is refused."""

import io
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from kalign.associations import asking, hearing, measure_report, study_report
from kalign.associations.evaluate import Questions
from kalign.config import compose
from kalign.errors import IntegrityError
from tests.conftest import Result

Kalign = Callable[..., Result]
MODEL = ["model=bundled:words", "family=words"]  # the family says at once what the template promises
BARE = ["recipe=tiny_align", "survey=null", "lexicon=null"]


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


def test_a_control_that_moves_nothing_where_nothing_was_learned_is_no_finding() -> None:
    def of(**values: float) -> dict[str, Any]:
        arms = {name: {"own": {"p@5_top5": {"value": value}}} for name, value in values.items()}
        return {"mean": arms, "seeds": []}

    form = "moves at least half as much"
    assert any(form in line for line in study_report.findings(of(base=0.2, sft=0.6, shuffled=0.5)))
    for idle in (of(base=0.2, sft=0.6, shuffled=0.3), of(base=0.2, sft=0.2, shuffled=0.2)):
        assert not any(form in line for line in study_report.findings(idle))


def test_one_cue_shows_no_change() -> None:
    alone = {"value": 0.4, "low": 0.4, "high": 0.4}
    change = {"changes": {"model": {"own": {"p@5_top5": alone}}}}
    arms = {"arms": {"model": {"own": {"format_rate": {"value": 1.0}}}}}
    assert "too few answers to tell it from chance" in measure_report.findings(change | arms)[0]
