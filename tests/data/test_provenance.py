"""Whose answers were mined, and whether their licence lets them train the model."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from kalign.config import Columns, Data, Licence, Model, compose, licences
from kalign.data import build
from kalign.errors import ConfigError, DataError
from tests.conftest import Result, pair, write
from tests.data.test_build import KOREAN, Letters

EXAONE = "LGAI-EXAONE/EXAONE-3.5-7.8B-Instruct"


def model(name: str) -> Model:
    return compose.load(["recipe=tiny", f"model={name}"]).model


def mined(folder: Path, targets: list[str | None], **settings: object) -> Data:
    rows = [pair(number) | {"target": target} for number, target in enumerate(targets)]
    write(folder / "mined.jsonl", rows)
    return Data(path=str(folder / "mined.jsonl"), columns=Columns(target="target"), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["exaone", "EXAONE_2B", EXAONE, "EXAONE-3.5-2.4B-Instruct", "EXAONE-of-ours"]
)
def test_a_model_is_known_by_file_repository_or_prefix(name: str) -> None:
    known = licences.of(name)
    assert known is not None
    assert not known.licence.may_train_others


def test_a_model_that_kalign_does_not_know_is_not_guessed() -> None:
    assert licences.of("gpt-like") is None


def test_rows_mined_from_exaone_train_no_other_model(tmp_path: Path) -> None:
    data = mined(tmp_path, ["qwen", EXAONE, EXAONE, "qwen"] * 5)
    with pytest.raises(
        ConfigError, match=r"10 row\(s\) mined from .*EXAONE.* such as Qwen/.*accept_licence_of"
    ):
        build.build(data, Letters(), letters=KOREAN, model=model("qwen"))
    with pytest.raises(ConfigError, match="forbids"):
        build.build(data, Letters(), letters=KOREAN)  # of an unknown licence


@pytest.mark.parametrize("name", ["exaone", "exaone_2b"])
def test_rows_mined_from_exaone_train_exaone(name: str, tmp_path: Path) -> None:
    built = build.build(mined(tmp_path, [EXAONE] * 20), Letters(), letters=KOREAN, model=model(name))
    assert len(built.train) + len(built.held_out) == 20
    assert built.summary.facts == {f"mined from {EXAONE}": 20}


def test_a_stated_right_lets_them_train_another(tmp_path: Path) -> None:
    data = mined(tmp_path, ["exaone"] * 20, accept_licence_of=["exaone"])
    assert build.build(data, Letters(), letters=KOREAN, model=model("qwen")).train


def test_a_right_to_nothing_known_is_refused(tmp_path: Path) -> None:
    data = mined(tmp_path, ["exaone"] * 20, accept_licence_of=["exaon"])
    with pytest.raises(ConfigError, match="names 'exaon'"):
        build.build(data, Letters(), letters=KOREAN, model=model("qwen"))


@pytest.mark.parametrize("command", ["train", "plan"])
def test_the_command_line_refuses_them_with_code_2(
    command: str, tmp_path: Path, kalign_here: Callable[..., Result]
) -> None:
    mined(tmp_path, ["exaone"] * 20)
    words = ["recipe=tiny", "data=file", "data.path=mined.jsonl", "data.columns.target=target"]
    done = kalign_here(command, *words)
    assert done.returncode == 2
    assert "20 row(s) mined from exaone" in done.stderr
    assert not list(tmp_path.rglob("adapter"))


def test_a_row_that_does_not_say_its_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r":2: column 'target' holds None"):
        build.build(mined(tmp_path, ["qwen", None]), Letters(), letters=KOREAN, model=model("qwen"))


def test_the_name_rules_are_in_the_sentence() -> None:
    assert "must begin with 'Llama'" in model("llama").licence.sentence()
    assert 'show "Built with Llama"' in model("llama").licence.sentence()
    assert "must begin with 'EXAONE'" in model("exaone").licence.sentence()
    assert "not known to kalign" in Model().licence.sentence()


def test_every_shipped_model_states_its_licence() -> None:
    for path in (compose.root("conf") / "model").glob("*.yaml"):
        licence = yaml.safe_load(path.read_text(encoding="utf-8"))["licence"]
        assert (licence["name"] is None) == (path.stem == "other")
        assert Licence(**licence).sentence()
