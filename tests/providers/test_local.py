"""The local provider: a real server around the bundled model, which comes, answers and goes."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from kalign.errors import ConfigError, ResourceError
from kalign.providers import Engine, Request, Sampling, load
from kalign.providers.local import identified, started
from kalign.records import Message


def test_a_model_is_known_by_its_weights_and_not_by_where_it_lies(tmp_path: Path) -> None:
    bundled = identified(load("local"))
    assert (bundled.model, len(bundled.revision or "")) == ("tiny", 64)
    (tmp_path / "trained").mkdir()
    (tmp_path / "trained/config.json").write_text("{}", encoding="utf-8")
    trained = identified(load(f"local:{tmp_path}/trained"))
    assert trained.model == "trained" and trained.revision != bundled.revision
    assert trained.licence.name is None  # that of the bundled model is not its own
    assert identified(load("openai")) == load("openai")


def test_a_folder_without_a_model_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="kalign export"):
        identified(load(f"local:{tmp_path}"))


@pytest.mark.slow
def test_the_bundled_model_answers_over_http_and_its_server_ends(tmp_path: Path) -> None:
    sampling = Sampling(temperature=0.0, max_tokens=8)
    with started([load("local"), load("openai")]) as (local, other):
        assert other == load("openai")
        requests = [
            Request(provider=local, messages=(Message(role="user", content=text),), sampling=sampling)
            for text in ("서울은 어디에 있나요?", "안녕하세요")
        ]
        with Engine(tmp_path / "ledger.sqlite", progress=False) as engine:
            answers = list(engine.answers(requests))
    assert all(answer.text.strip() and answer.usage.tokens_out <= 8 for answer in answers), answers
    assert {answer.status.value for answer in answers} <= {"ok", "truncated"}
    assert str(tmp_path) not in repr(answers) and os.sep not in answers[0].model
    elsewhere = [replace(request, provider=identified(load("local"))) for request in requests]
    with Engine(tmp_path / "ledger.sqlite", offline=True, progress=False) as engine:  # no server runs now
        assert [answer.text for answer in engine.answers(elsewhere)] == [answer.text for answer in answers]


@pytest.mark.slow
def test_a_server_that_dies_says_why_in_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    said = "ended with code 1 before it was ready: "
    with pytest.raises(ResourceError, match=said) as wrong, started([load(f"local:{folder}")]):
        pass
    assert "\n" not in str(wrong.value)
