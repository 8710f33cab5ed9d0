"""The six-model study on twins: whole, resumed where it was stopped, and complete without a model that
failed."""

import contextlib
import io
import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from kalign import cli, files, packs, runs
from kalign.commands import study as command
from kalign.errors import ConfigError, Interrupted, KalignError, ResourceError
from kalign.evaluation.study import findings, stages
from kalign.evaluation.study import study as studying
from kalign.preemption import Children
from tests.conftest import Result, pair, write

Kalign = Callable[..., Result]
FAILS = "kanana"  # something lies where its run folder should be


class Here:
    """Runs the commands of a study in this process; asked to leave before the command of that number."""

    def __init__(self, leave_before: int | None = None) -> None:
        self.leave_before = leave_before
        self.ran: list[str] = []

    def __call__(self, words: Sequence[str], log: Path) -> int:
        if len(self.ran) == self.leave_before:
            return 75
        self.ran.append(f"{words[0]} {next(word for word in words if word.startswith('model='))}")
        with log.open("a") as said, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            return cli.run(list(words))

    def stopped(self) -> bool:
        return False


def words(folder: Path, *more: str) -> list[str]:
    return [
        "model.twin=true",
        "adapter=lora",  # the recipe's QLoRA is shown by the twins' own tests
        "trainer.max_steps=2",
        "trainer.eval_strategy=no",
        "evaluation.generations=0",
        "evaluation.panel_prompts=2",
        "evaluation.max_new_tokens=2",
        f"data.path={folder / 'pairs.jsonl'}",
        f"suite={folder / 'few.yaml'}",
        "as_of=2026-11-22",
        "max_new_tokens=3",
        f"runs_dir={folder / 'runs'}",
        f"out={folder / 'out'}",
        *more,
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty pairs, and a suite of two harmful prompts and their twins."""
    folder = tmp_path_factory.mktemp("study")
    write(folder / "pairs.jsonl", [pair(number) for number in range(20)])
    rows = [row for _, row in files.read_jsonl(packs.held_out("ko"))]
    harmful = [row for row in rows if row["kind"] == "harmful"][::60]
    names = {row["id"] for row in harmful}
    write(folder / "few.jsonl", [*harmful, *(row for row in rows if row.get("twin") in names)])
    fields = {"prompt": "prompt", "id": "id", "category": "category", "kind": "kind", "family": None}
    block = {"source": "file", "path": str(folder / "few.jsonl"), "fields": fields, "licence": "ours"}
    (folder / "few.yaml").write_text(json.dumps({"name": "few", "sets": {"mine": block}}), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def attempts(folder: Path) -> list[list[str]]:
    """What three calls of the same command ran: one that is stopped, one that goes on, and one more."""
    wanted = command.asked(words(folder, f"models=qwen,{FAILS},llama"))
    recipe = wanted.recipes[FAILS]
    blocked = runs.named(recipe.runs_path(), recipe.name, recipe.determining()).path
    blocked.parent.mkdir()
    blocked.write_text("in the way", encoding="utf-8")
    quiet = Console(file=io.StringIO())
    stopped, on, again = Here(leave_before=1), Here(), Here()
    with pytest.raises(Interrupted, match="eval of qwen; the same command goes on"):
        studying.run(wanted, stopped, quiet)
    for work in (on, again):
        studying.run(wanted, work, quiet)
    return [work.ran for work in (stopped, on, again)]


@pytest.fixture
def document(folder: Path, attempts: list[list[str]]) -> dict[str, Any]:
    return dict(json.loads((folder / "out/study.json").read_text(encoding="utf-8")))


@pytest.mark.slow
def test_the_same_command_does_what_is_left_and_tries_again_what_failed(attempts: list[list[str]]) -> None:
    stopped, on, again = attempts
    assert stopped == ["train model=qwen"]
    assert [one.split()[0] for one in on] == ["eval", "train", "train", "eval"]
    assert on[1:3] == [f"train model={FAILS}", "train model=llama"]
    assert again == [f"train model={FAILS}"]


@pytest.mark.slow
def test_a_model_that_fails_keeps_its_place_and_loses_no_other(document: dict[str, Any]) -> None:
    first, failed, last = document["models"]
    assert (first["model"], failed["model"], last["model"]) == ("qwen", FAILS, "llama")
    assert failed["safe"] is None
    [failure] = document["failures"]
    assert (failure["stage"], failure["code"]) == ("train", 7)
    assert "cannot be written" in failure["said"]
    for one in (first, last):
        assert one["safe"]["prompts"] == 2
        assert one["safe"]["p_value_holm"] == min(1.0, 3 * one["safe"]["p_value"])
        assert one["benign"]["prompts"] == 2
        assert one["training"]["steps"] == 2
    assert document["mean"]["models"] == 2
    assert findings.say(document, Console(file=io.StringIO()), "out") == 7


@pytest.mark.slow
def test_the_table_stands_beside_the_papers(document: dict[str, Any]) -> None:
    assert document["models"][0]["paper"] == {
        "name": "Qwen-2.5-7B",
        "before": 84.43,
        "after": 88.84,
        "gain": 4.41,
    }
    assert document["models"][1]["paper"]["gain"] == 6.41  # though it failed
    said = " ".join(findings.sentences(document))
    assert "the paper's over six: +6.59" in said
    assert "only suite=korset asks what the paper asked" in said
    assert "tiny random twins" in said


@pytest.mark.slow
def test_the_page_of_a_study_leads_to_those_of_its_models(
    folder: Path, document: dict[str, Any], kalign_here: Kalign
) -> None:
    page = (folder / "out/report.html").read_text(encoding="utf-8")
    for title in (
        "Safe rate",
        "Over-refusal and citations",
        "While they trained",
        "Runs",
        "Failed",
        "How it was measured",
    ):
        assert f"<h2>{title}</h2>" in page
    for one in (document["models"][0], document["models"][2]):
        own = Path(one["evaluation"]) / "report.html"
        assert f'href="{own.relative_to(folder / "out")}"' in page
        for title in (
            "Verdict",
            "Answers",
            "Ledger",
            "Training curves",
            "While it trained",
            "Cost of the training",
        ):
            assert f"<h2>{title}</h2>" in own.read_text(encoding="utf-8")
    done = kalign_here("study", "ko", *words(folder, "models=qwen,llama"), "--json")
    assert done.returncode == 0, done.stderr[-2000:]  # all is there: nothing is loaded
    assert json.loads(done.stdout)["failures"] == []


def test_the_papers_numbers_add_up() -> None:
    import yaml

    paper = yaml.safe_load(studying.PAPER.read_text(encoding="utf-8"))
    gains = [one["after"] - one["before"] for one in paper["models"].values()]
    assert sum(gains) / 6 == pytest.approx(paper["mean_gain"], abs=0.005)
    assert list(command.MODELS.split(",")) == sorted(paper["models"], key=command.MODELS.split(",").index)


def test_what_no_study_can_be_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="write models=qwen"):
        command.asked(["model=qwen"])
    with pytest.raises(ConfigError, match="model=qwem is unknown; did you mean qwen"):
        command.asked(["models=qwem"])
    with pytest.raises(ConfigError, match="names a model twice"):
        command.asked(["models=qwen,qwen"])
    with pytest.raises(ConfigError, match="give launch=ddp too"):
        command.asked(["models=qwen", "ranks=2"])
    with pytest.raises(ConfigError, match="models=qwen, leaves a name empty"):
        command.asked(["models=qwen,"])
    for word in ("batch=0", "max_new_tokens=-1", "batch=many"):
        with pytest.raises(ConfigError, match=f"{word} must be a whole number, 1 or more"):
            command.asked(["models=qwen", word])
    with pytest.raises(ConfigError, match="set.mine"):
        command.asked(["models=qwen", "set.mine"])
    with pytest.raises(ConfigError, match="abilities=kmlu is unknown; did you mean kmmlu"):
        command.asked(["models=qwen", "abilities=kmlu"])
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="cannot be written: Not a directory; set out to another folder"):
        studying.run(
            command.asked(["models=qwen", f"out={tmp_path / 'file' / 'out'}"]),
            Here(),
            Console(file=io.StringIO()),
        )
    for wrong in ("suite=kko", "judge=nobody"):
        with pytest.raises(ConfigError, match="is unknown|nobody"):
            studying.run(
                command.asked(["models=qwen", wrong, f"out={tmp_path}"]), Here(), Console(file=io.StringIO())
            )


class Dies:
    """Says something and fails; at its second attempt it is killed before it says a word."""

    def __init__(self) -> None:
        self.attempts = 0

    def __call__(self, words: Sequence[str], log: Path) -> int:
        self.attempts += 1
        if self.attempts > 1:
            return 137
        log.write_text("kalign: the disk is full\n", encoding="utf-8")
        return 7

    def stopped(self) -> bool:
        return False


def test_a_study_without_a_model_ends_as_its_first_failure_did_and_repeats_no_older_one(
    tmp_path: Path,
) -> None:
    wanted, work = command.asked(["models=qwen", f"out={tmp_path}"]), Dies()
    for said, code in (("the disk is full", 7), ("it said nothing", 137)):
        with pytest.raises(KalignError, match=f"no model could be evaluated .qwen: {said}") as wrong:
            studying.run(wanted, work, Console(file=io.StringIO()))
        assert wrong.value.exit_code == code


class Killed(Children):
    """Starts what kills itself in place of a command."""

    def start(self, command: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":
        return super().start(["sh", "-c", "kill -9 $$"], **options)


def test_a_command_that_is_killed_ends_with_the_code_that_a_shell_gives(tmp_path: Path) -> None:
    assert stages.Apart(Killed())(["doctor"], tmp_path / "log") == 137


def test_both_studies_are_offered(kalign_here: Kalign, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.run(["study", "--help"])
    shown = capsys.readouterr().out
    assert "align" in shown
    assert "beside the paper" in shown
