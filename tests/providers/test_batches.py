"""Batches: files out and results in, into the same ledger that the engine goes on from."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from kalign.errors import DataError, ProviderError
from kalign.providers import Engine, Ledger, Provider, Request, Sampling, Status
from kalign.providers.batches import Form, take_in, write
from kalign.providers.spool import Spool
from kalign.records import Message
from tests.providers.conftest import question, questions

PROVIDER = Provider(name="p", model="m-1", base_url="http://127.0.0.1:9/v1", price_in=1.0, price_out=2.0)


def rows(paths: list[Path]) -> list[dict[str, Any]]:
    return [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]


def completion(text: str | None, **fields: Any) -> dict[str, Any]:
    choice = {"finish_reason": fields.pop("finish", "stop"), "message": {"content": text}}
    usage = {"prompt_tokens": 10, "completion_tokens": 20}
    return {"model": "m-1", "choices": [choice], "usage": usage, **fields}


def written(path: Path, results: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in results), encoding="utf-8")
    return path


def test_a_batch_of_openai_holds_each_open_request_once_under_its_key(tmp_path: Path) -> None:
    asked = questions(PROVIDER, 5)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        paths = write(asked * 2, tmp_path / "out", Form.OPENAI, ledger)
        assert write(asked, tmp_path / "out", Form.OPENAI, ledger) == paths  # named by what they hold
    assert [row["custom_id"] for row in rows(paths)] == [one.key() for one in asked]
    assert rows(paths)[0] == {
        "custom_id": asked[0].key(),
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "m-1", "messages": [{"role": "user", "content": "질문 0"}], "max_tokens": 1024},
    }
    assert stat.S_IMODE(paths[0].stat().st_mode) == 0o600


def test_a_batch_of_anthropic_has_its_own_form(tmp_path: Path) -> None:
    turns = (Message(role="system", content="정책"), Message(role="user", content="질문"))
    sampling = Sampling(temperature=0.5, max_tokens=64, stop=["끝"])
    one = Request(provider=PROVIDER, messages=turns, sampling=sampling)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        [row] = rows(write([one], tmp_path, Form.ANTHROPIC, ledger))
    assert row == {
        "custom_id": one.key(),
        "params": {
            "model": "m-1",
            "max_tokens": 64,
            "messages": [{"role": "user", "content": "질문"}],
            "temperature": 0.5,
            "system": "정책",
            "stop_sequences": ["끝"],
        },
    }


@pytest.mark.parametrize(("most", "parts"), [((2, 10**9), [2, 2, 1]), ((100, 520), [2, 2, 1])])
def test_what_one_batch_may_not_hold_is_divided(
    tmp_path: Path, most: tuple[int, int], parts: list[int]
) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        paths = write(questions(PROVIDER, 5), tmp_path / "out", Form.OPENAI, ledger, most=most)
    assert [len(rows([path])) for path in paths] == parts


def test_results_in_any_order_are_answers_at_half_the_price_and_faults_stay_open(tmp_path: Path) -> None:
    asked = questions(PROVIDER, 6)
    bodies = [
        {"status_code": 200, "body": completion("네")},
        {"status_code": 200, "body": completion(None, finish="content_filter")},
        {"status_code": 400, "body": {"error": {"message": "too long"}}},
        {"status_code": 500, "body": {"error": {"message": "oops"}}},
        None,  # expired
    ]
    results = [
        {"custom_id": one.key(), "response": body, "error": None}
        for one, body in zip(asked, bodies, strict=False)
    ]
    results.append({"custom_id": "somebody else's", "response": bodies[0]})
    path = written(tmp_path / "results.jsonl", results[::-1])
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        taken = take_in(path, Spool(asked), ledger)
        assert taken.kept == {Status.OK: 1, Status.BLOCKED: 1, Status.INVALID_REQUEST: 1}
        assert (taken.left, taken.unknown) == (2, 1)
        assert ledger.spent() == pytest.approx(2 * 50e-6 / 2)
        assert take_in(path, Spool(asked), ledger).kept == {}
        still_open = rows(write(asked, tmp_path / "again", Form.OPENAI, ledger))
        assert [row["custom_id"] for row in still_open] == [one.key() for one in asked[3:]]
    with Engine(tmp_path / "ledger.sqlite", offline=True) as engine:
        assert [answer.status.value for answer in engine.answers(asked[:3])] == [
            "ok",
            "blocked",
            "invalid_request",
        ]


def test_results_of_anthropic_are_read_from_its_messages(tmp_path: Path) -> None:
    asked = questions(PROVIDER, 4)
    message = {"type": "message", "model": "m-1", "content": [{"type": "text", "text": "네"}]}
    message |= {"stop_reason": "end_turn", "usage": {"input_tokens": 10, "output_tokens": 20}}
    refusal = message | {"content": [], "stop_reason": "refusal"}
    results: list[dict[str, Any]] = [
        {"type": "succeeded", "message": message},
        {"type": "succeeded", "message": refusal},
        {
            "type": "errored",
            "error": {"type": "error", "error": {"type": "invalid_request_error", "message": "x"}},
        },
        {"type": "expired"},
    ]
    named = [{"custom_id": one.key(), "result": result} for one, result in zip(asked, results, strict=True)]
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        taken = take_in(written(tmp_path / "results.jsonl", named), Spool(asked), ledger)
        assert taken.kept == {Status.OK: 1, Status.BLOCKED: 1, Status.INVALID_REQUEST: 1} and taken.left == 1
        [first] = ledger.find({asked[0].key(): asked[0]}).values()
    assert (first.text, first.usage.tokens_out, first.cost) == ("네", 20, pytest.approx(25e-6))


def test_another_model_or_another_file_is_refused(tmp_path: Path) -> None:
    one = question(PROVIDER)
    body = completion("네") | {"model": "m-2"}
    path = written(
        tmp_path / "r.jsonl", [{"custom_id": one.key(), "response": {"status_code": 200, "body": body}}]
    )
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        with pytest.raises(ProviderError, match="m-2 answered in place of m-1"):
            take_in(path, Spool([one]), ledger)
        with pytest.raises(DataError, match=r"rows\.jsonl:1: no result of a batch"):
            take_in(written(tmp_path / "rows.jsonl", [{"text": "x"}]), Spool([one]), ledger)
