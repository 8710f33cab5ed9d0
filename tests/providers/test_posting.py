"""Batches over the wire, against a vendor of our own that keeps files and batches in memory."""

import asyncio
import contextlib
import sqlite3
import traceback
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from kalign.errors import DataError, Interrupted, ProviderError
from kalign.providers import Engine, Ledger, Provider, Status
from kalign.providers.batches import Form, write
from kalign.providers.posting import Batch, Batches, advance, state_of
from kalign.providers.spool import Spool
from kalign.providers.vendors import OpenAI
from tests.providers.conftest import questions
from tests.providers.server import Reply, always, serving
from tests.providers.vendor import Vendor, selling


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with selling() as running:
        yield running


def step(vendor: Vendor, folder: Path, *, form: Form = Form.OPENAI) -> list[Batch]:
    """Write, and bring every file one step on, as a process that starts anew."""
    asked = questions(vendor.provider(form), 4)
    with Ledger(folder / "ledger.sqlite") as ledger:
        write(asked, folder / "out", form, ledger, most=(2, 10**9))
        paths = sorted((folder / "out").glob("batch-*.jsonl"))
        return asyncio.run(advance(paths, Spool(asked), vendor.provider(form), ledger, folder / "in"))


def test_files_are_submitted_once_and_their_results_are_answers(vendor: Vendor, tmp_path: Path) -> None:
    assert [batch.state.word for batch in step(vendor, tmp_path)] == ["in_progress"] * 2
    assert not any(batch.over for batch in step(vendor, tmp_path))
    assert len(vendor.batches) == len(vendor.files) == 2
    vendor.state = "completed"
    done = step(vendor, tmp_path)
    assert [batch.taken.kept for batch in done if batch.taken] == [{Status.OK: 2}] * 2
    assert [batch.taken.kept for batch in step(vendor, tmp_path) if batch.taken] == [{}, {}]
    assert len(vendor.batches) == 2
    with Engine(tmp_path / "ledger.sqlite", offline=True) as engine:
        answers = list(engine.answers(questions(vendor.provider(), 4)))
    assert [answer.text for answer in answers] == [f"질문 {number}" for number in range(4)]


def test_killed_after_submitting_it_finds_its_batch_again(vendor: Vendor, tmp_path: Path) -> None:
    step(vendor, tmp_path)
    for path in tmp_path.glob("ledger.sqlite*"):  # the ledger never heard of it
        path.unlink()
    step(vendor, tmp_path)
    assert len(vendor.batches) == 2


def test_messages_are_submitted_once_too_and_found_again_by_their_number(
    vendor: Vendor, tmp_path: Path
) -> None:
    step(vendor, tmp_path, form=Form.ANTHROPIC)
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as ledger:
        ledger.execute("DELETE FROM meta WHERE name LIKE 'batch:%'")  # killed before it was told the ids
        ledger.commit()
    step(vendor, tmp_path, form=Form.ANTHROPIC)
    assert len(vendor.messages) == 2 and set(vendor.submitted.values()) == {1}
    vendor.state = "completed"
    done = step(vendor, tmp_path, form=Form.ANTHROPIC)
    # Both batches have two requests, so each file may first be given the other's: then it is asked anew
    assert sum(sum(batch.taken.kept.values()) for batch in done if batch.taken) == 4
    assert vendor.headers[0]["anthropic-version"]


def test_a_batch_whose_requests_failed_is_submitted_again(vendor: Vendor, tmp_path: Path) -> None:
    vendor.state, vendor.failing = "completed", True
    assert [batch.taken.left for batch in step(vendor, tmp_path) if batch.taken] == [2, 2]
    vendor.failing = False
    assert [batch.taken.kept for batch in step(vendor, tmp_path) if batch.taken] == [{Status.OK: 2}] * 2
    assert len(vendor.batches) == 4


def test_an_expired_batch_may_be_submitted_again(vendor: Vendor, tmp_path: Path) -> None:
    step(vendor, tmp_path)
    vendor.state = "expired"
    assert all(batch.over for batch in step(vendor, tmp_path))
    step(vendor, tmp_path)
    assert len(vendor.batches) == 4


def test_a_file_of_other_settings_waits_until_they_are_asked_for_again(
    vendor: Vendor, tmp_path: Path
) -> None:
    vendor.state = "completed"
    before, after = questions(vendor.provider(), 4)[:2], questions(vendor.provider(), 4)[2:]
    with Engine(tmp_path / "ledger.sqlite") as engine:
        [waiting] = write(before, tmp_path / "batches/vendor-m-1", Form.OPENAI, engine.ledger)
        batches = Batches(tmp_path / "batches", poll=0.01, budget=None)
        assert batches.settle(Spool(after), engine) == 2 and waiting.is_file()
        assert batches.settle(Spool(before), engine) == 2 and not waiting.exists()
    assert len(vendor.batches) == 2


def asked_once(address: str) -> None:
    """How a batch is, asked at an address."""

    async def ask() -> None:
        provider = Provider(name="stub", model="m", base_url=address, batch="openai")
        async with aiohttp.ClientSession() as session:
            await state_of(OpenAI(session, provider), "batch-1")

    asyncio.run(ask())


def test_the_password_of_a_proxy_is_not_even_shown_with_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(always(Reply(status=407))) as server:
        monkeypatch.setenv("https_proxy", f"http://me:canary@127.0.0.1:{server.port}")
        with pytest.raises(Interrupted, match="the proxy of the environment answers HTTP 407") as wrong:
            asked_once("https://stub.example/v1")
    assert "canary" not in "".join(traceback.format_exception(wrong.value))


@pytest.mark.parametrize("body", [b'{"request_counts": "many"}', b'{"errors": [1]}', b"<html>", b"[]"])
def test_a_vendor_that_answers_in_another_form_is_named(body: bytes) -> None:
    with serving(always(Reply(body=body))) as server, pytest.raises(DataError, match="batch endpoint"):
        asked_once(f"http://127.0.0.1:{server.port}/v1")


@pytest.mark.parametrize(("status", "kind"), [(401, ProviderError), (400, ProviderError), (503, Interrupted)])
def test_a_call_that_is_not_accepted_is_said(
    vendor: Vendor, tmp_path: Path, status: int, kind: type[Exception]
) -> None:
    vendor.status = status
    with pytest.raises(kind, match=f"HTTP {status}"):
        step(vendor, tmp_path)
