"""What would make a comparison say something false is refused, each by its sentence."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kalign import files
from kalign.evaluation import scores
from tests.conftest import Result, write
from tests.evaluation.conftest import Trained, _train, words

Evaluated = Callable[[str], Path]
Call = Callable[..., Result]


def refused(done: Result, code: int, *said: str) -> None:
    """The command ended with that code and one sentence that says so much."""
    assert done.returncode == code, done.stderr
    [sentence] = [line for line in done.stderr.splitlines() if line.startswith("kalign: ")]
    assert all(one in sentence for one in said), sentence


def test_an_adapter_without_effect_is_refused(trained: Trained, kalign_here: Call) -> None:
    """One step whose rate is still 0 moves nothing."""
    idle = _train(trained.folder, "idle", "trainer.max_steps=1", "trainer.warmup_steps=1")
    refused(
        kalign_here("eval", *words(trained, idle, trained.folder / "eval-idle")),
        4,
        "has no effect",
        "train it",
    )


def test_cached_answers_of_another_model_are_refused(
    trained: Trained, evaluated: Evaluated, kalign_here: Call
) -> None:
    done = kalign_here("eval", *words(trained, trained.unchanged, evaluated("refusing")))
    refused(done, 4, "holds the answers of another model", "out=DIR")


def test_cached_answers_to_other_prompts_are_refused(
    trained: Trained, evaluated: Evaluated, kalign_here: Call
) -> None:
    given = words(trained, trained.refusing, evaluated("refusing"))
    write(trained.folder / "other.jsonl", [{"prompt": "다른 질문"}])
    given[0] = f"suite={trained.folder / 'other.jsonl'}"
    refused(kalign_here("eval", *given), 4, "holds answers to other prompts")


def test_answers_that_another_model_gave_are_not_compared(
    tmp_path: Path, evaluated: Evaluated, kalign_here: Call
) -> None:
    planted = tmp_path / "planted"
    shutil.copytree(evaluated("refusing"), planted)
    shutil.copy(evaluated("unchanged") / "responses/model.jsonl", planted / "responses/model.jsonl")
    done = kalign_here("eval", "compare", str(evaluated("unchanged")), str(planted))
    refused(done, 4, "another model")


def test_changed_scores_are_not_compared(tmp_path: Path, evaluated: Evaluated, kalign_here: Call) -> None:
    planted = tmp_path / "planted"
    shutil.copytree(evaluated("refusing"), planted)
    shutil.copy(evaluated("unchanged") / "scores.parquet", planted / "scores.parquet")
    done = kalign_here("eval", "compare", str(evaluated("unchanged")), str(planted))
    refused(done, 4, "is not what eval.json was made of")


def test_one_model_is_not_compared_with_itself(evaluated: Evaluated, kalign_here: Call) -> None:
    folder = str(evaluated("refusing"))
    refused(kalign_here("eval", "compare", folder, folder), 4, "the same weights")


def test_the_same_answers_twice_are_refused(
    trained: Trained, evaluated: Evaluated, kalign_here: Call
) -> None:
    """The base beside an adapter that says the same, word for word."""
    base = trained.folder / "eval-base"
    given = words(trained, Path("bundled:tiny"), base)
    assert kalign_here("eval", *(word for word in given if word != "base=true")).returncode == 0
    done = kalign_here("eval", "compare", str(base), str(evaluated("unchanged")))
    refused(done, 4, "the same 80 answers, word for word")


def test_answers_to_different_prompts_are_not_compared(
    trained: Trained, evaluated: Evaluated, kalign_here: Call, tmp_path: Path
) -> None:
    write(tmp_path / "other.jsonl", [{"prompt": "다른 질문"}])
    given = words(trained, trained.unchanged, tmp_path / "other")
    given[0] = f"suite={tmp_path / 'other.jsonl'}"
    assert kalign_here("eval", *given).returncode == 0
    done = kalign_here("eval", "compare", str(evaluated("refusing")), str(tmp_path / "other"))
    refused(done, 4, "different prompts", "one suite")


def test_a_missing_judge_is_refused_before_anything_is_loaded(trained: Trained, kalign_here: Call) -> None:
    given = words(trained, trained.refusing, Path("never"))
    refused(kalign_here("eval", *given, "judge=rules,oracle"), 2, "judge=oracle is not configured")
    assert not Path("never").exists()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("judges", ["rules", "oracle"], "judge=rules"),
        ("as_of", "2024-01-01", "as_of="),
        ("questions", "0" * 64, "different prompts"),
        ("suite", {"name": "own", "primary": "mine", "margin": 0.05, "pack": "other"}, "of pack ko"),
    ],
)
def test_evaluations_that_differ_in_more_than_the_model_are_not_compared(
    tmp_path: Path, evaluated: Evaluated, kalign_here: Call, key: str, value: object, said: str
) -> None:
    planted = tmp_path / "planted"
    shutil.copytree(evaluated("unchanged"), planted)
    content = json.loads((planted / "eval.json").read_text(encoding="utf-8"))
    (planted / "eval.json").write_text(json.dumps(content | {key: value}), encoding="utf-8")
    refused(kalign_here("eval", "compare", str(evaluated("refusing")), str(planted)), 4, said)


def test_an_evaluation_that_was_hardly_judged_is_not_compared_and_its_page_says_so(
    tmp_path: Path, evaluated: Evaluated, kalign_here: Call
) -> None:
    """As a judge leaves it that failed on one answer in ten."""
    planted = tmp_path / "planted"
    shutil.copytree(evaluated("refusing"), planted)
    rows = scores.read(planted / scores.FILE)
    rows = [
        dataclasses.replace(row, verdict="error") if place % 10 == 0 else row
        for place, row in enumerate(rows)
    ]
    scores.write(planted / scores.FILE, rows)
    content = json.loads((planted / "eval.json").read_text(encoding="utf-8"))
    content["scores_sha256"] = files.sha256(planted / scores.FILE)
    content["models"]["model"]["coverage"] = 0.9
    (planted / "eval.json").write_text(json.dumps(content), encoding="utf-8")
    done = kalign_here("eval", "compare", str(evaluated("unchanged")), str(planted))
    refused(done, 3, "only 90.0% of the answers", "98% must be")
    assert kalign_here("report", str(planted)).returncode == 0
    page = (planted / "report.html").read_text(encoding="utf-8")
    assert "Only 90.0% of the answers of model were judged" in page


def test_two_evaluations_are_compared_in_words(
    evaluated: Evaluated, kalign_here: Call, tmp_path: Path
) -> None:
    pair = [str(evaluated("unchanged")), str(evaluated("refusing"))]
    done = kalign_here("eval", "compare", *pair, f"out={tmp_path}", "--json")
    assert done.returncode == 0
    document = json.loads(done.stdout)
    assert document["verdict"] == "better"
    assert json.loads((tmp_path / "compare.json").read_text(encoding="utf-8")) == document
    assert "Verdict: better" in done.stderr
    turned = kalign_here("eval", "compare", *reversed(pair), "--json")
    assert json.loads(turned.stdout)["verdict"] == "worse"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "model is missing"),
        (("model=bundled:tiny", "suite=koo"), "did you mean ko?"),
        (("model=bundled:tiny", "bas=true"), "did you mean base?"),
        (("model=bundled:tiny", "base=true"), "name the model it came from"),
        (("model=bundled:tiny", "base=bundled:tiny"), "the same weights"),
        (("model=bundled:tiny", "batch=0"), "whole number, 1 or more"),
        (("model=bundled:tiny", "korset=x.parquet"), "neither a setting nor a set of suite ko"),
        (("model=nowhere",), "neither a folder here nor OWNER/NAME"),
        (("model=bundled:tiny", "family=exaome"), "no file of conf/model/"),
        (("compare", "one"), "two folders"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    kalign_here: Call, words: tuple[str, ...], said: str
) -> None:
    done = kalign_here("eval", *words)
    assert done.returncode in (2, 4)
    assert said in done.stderr
