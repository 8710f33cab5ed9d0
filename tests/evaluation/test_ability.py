"""CLIcK offline: the harness' own score to the last bit, base and adapter paired by question and prompt."""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import pytest

from kalign.evaluation import ability, harness
from kalign.models.loading import BUNDLED
from tests.conftest import SHARED, Result, write
from tests.evaluation.conftest import Trained

pytest.importorskip("lm_eval", reason="pip install 'kalign[ability]'")
CLICK = SHARED / "click"
SUBSETS = [
    *(
        f"click_cul_{one}"
        for one in ["economy", "geography", "history", "kpop", "law", "politics", "society", "tradition"]
    ),
    *(f"click_lang_{one}" for one in ["function", "grammar", "text"]),
]
here = pytest.mark.skipif(
    not CLICK.is_dir(), reason="CLIcK is not ours to carry, and is not beside the tests"
)
ROW = {"id": "KIIP_popular_1", "paragraph": "", "question": "?", "choices": list("abcd"), "answer": "a"}


@here
def test_every_row_of_click_is_read() -> None:
    rows = ability.click(CLICK)
    assert len(rows) == 1995
    assert set(rows[0]) == set(ability.CLICK_FIELDS)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shortest row of every file of CLIcK, in its folders: every subset, at a price that can be paid."""
    folder = tmp_path_factory.mktemp("click")
    for path in sorted(CLICK.rglob("*.json")):
        rows = sorted(json.loads(path.read_text(encoding="utf-8")), key=lambda row: len(str(row)))[:1]
        place = folder / path.relative_to(CLICK)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return folder


@here
@pytest.mark.slow
def test_every_subset_of_click_has_the_harness_own_score_exactly(
    few: Path, kalign_here: Callable[..., Result], tmp_path: Path
) -> None:
    """The harness loads the model by itself, from its folder; kalign's has the same score everywhere."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    words = ["suite=click", "model=bundled:tiny", f"data={few}"]
    done = kalign_here("eval", *words, f"out={tmp_path / 'out'}", "--json")
    assert done.returncode == 0
    document = json.loads(done.stdout)
    *rows, micro, macro = document["tasks"]
    assert [row["task"] for row in rows] == SUBSETS
    assert (document["num_fewshot"], document["template"]) == (0, "none, plain text")
    assert "click, in %; 0 shots; template: none, plain text" in done.stderr

    own = harness.tasks("click", "click_", tmp_path / "out/data", [])
    model = HFLM(pretrained=str(BUNDLED / "tiny"), dtype="float32", device="cpu", batch_size=16)
    scored = simple_evaluate(model, tasks=list(own.values()), bootstrap_iters=0)
    for row in rows:
        assert row["model"]["value"] == scored["results"][row["task"]]["acc,none"]
        path = tmp_path / "out/ability/model" / f"{row['task']}.jsonl"
        kept = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[1:]]
        samples = scored["samples"][row["task"]]
        assert [(one["doc_hash"], one["prompt_hash"], one["correct"]) for one in kept] == [
            (one["doc_hash"], one["prompt_hash"], one["acc"]) for one in samples
        ]
    right = [row["model"]["value"] * row["n"] for row in rows]
    assert micro["model"]["value"] == pytest.approx(sum(right) / micro["n"])
    assert macro["model"]["value"] == pytest.approx(fmean(row["model"]["value"] for row in rows))
    assert macro["model"]["low"] < macro["model"]["value"] < macro["model"]["high"]


@here
@pytest.mark.slow
def test_base_and_adapter_are_paired_and_kept_and_another_model_is_refused(
    trained: Trained, few: Path, kalign_here: Callable[..., Result], tmp_path: Path
) -> None:
    words = ["suite=click", "tasks=click_cul_kpop", f"model={trained.refusing}", "base=true", f"data={few}"]
    done = kalign_here("eval", *words, f"out={tmp_path / 'out'}", "--json")
    document = json.loads(done.stdout)
    [row] = document["tasks"]
    assert row["change"]["difference"]["value"] == row["model"]["value"] - row["base"]["value"]
    again = kalign_here("eval", *words, f"out={tmp_path / 'out'}", "--json")
    assert json.loads(again.stdout) == document
    words[2] = f"model={trained.unchanged}"
    other = kalign_here("eval", *words, f"out={tmp_path / 'out'}")
    assert (other.returncode, "scores of another model" in other.stderr) == (4, True)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{**ROW, "answer": "e"}], "an answer that is none of its choices"),
        ([{key: ROW[key] for key in ROW if key != "choices"}], "it has no choices"),
    ],
)
def test_what_is_none_of_clicks_is_refused(tmp_path: Path, rows: list[dict[str, object]], said: str) -> None:
    (tmp_path / "Popular.json").write_text(json.dumps(rows), encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        ability.click(tmp_path)


@pytest.mark.parametrize("suite", ["kmmlu", "hrm8k", "haerae", "kobest"])
def test_other_tasks_of_the_harness_say_which_file_they_lack(tmp_path: Path, suite: str) -> None:
    asked = ability.ABILITIES[suite]
    with pytest.raises(ValueError, match=r"has no \w+.jsonl, .parquet or .csv"):
        harness.tasks(asked.folder, asked.group, tmp_path, [])


def test_a_task_reads_a_local_copy_of_its_subset(tmp_path: Path) -> None:
    rows = [{"paragraph": "비가 온다.", "question": "비가 오는가?", "label": 1}]
    (tmp_path / "boolq").mkdir()
    for split in ("train", "validation", "test"):
        write(tmp_path / f"boolq/{split}.jsonl", rows)
    made = harness.tasks("kobest", "kobest_", tmp_path, ["kobest_boolq"])["kobest_boolq"]
    assert made.doc_to_text(rows[0]) == "비가 온다. 질문: 비가 오는가? 답변: "


def test_a_benchmark_without_its_harness_is_refused(
    monkeypatch: pytest.MonkeyPatch, kalign_here: Callable[..., Result]
) -> None:
    import importlib.metadata

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(harness, "version", lambda: missing("lm_eval"))
    done = kalign_here("eval", "suite=click", "model=bundled:tiny")
    assert (done.returncode, "kalign[ability]" in done.stderr) == (2, True)
