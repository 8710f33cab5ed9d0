"""Batches over the wire, against a vendor of our own that keeps files and batches in memory."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kalign.errors import Interrupted, ProviderError
from kalign.providers import Engine, Ledger, Provider, Status
from kalign.providers.batches import Form, write
from kalign.providers.posting import Batch, advance
from tests.providers.conftest import questions


class Vendor(ThreadingHTTPServer):
    """Answers every line with its question; how far a batch is, the test says."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.batches: list[dict[str, Any]] = []
        self.state = "in_progress"
        self.status = 200

    def provider(self) -> Provider:
        address = f"http://127.0.0.1:{self.server_address[1]}/v1"
        return Provider(name="vendor", model="m-1", base_url=address)

    def results(self, batch: dict[str, Any]) -> str:
        rows = []
        for line in self.files[batch["input_file_id"]].splitlines():
            row = json.loads(line)
            said = row["body"]["messages"][0]["content"]
            choice = {"message": {"content": said}, "finish_reason": "stop"}
            body = {"model": "m-1", "choices": [choice]}
            rows.append({"custom_id": row["custom_id"], "response": {"status_code": 200, "body": body}})
        self.files["out"] = "".join(json.dumps(row) + "\n" for row in rows).encode()
        return "out"


class Handler(BaseHTTPRequestHandler):
    server: Vendor

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        data = self._body()
        if self.path.endswith("/files"):
            lines = [line for line in data.splitlines() if line.startswith(b'{"custom_id"')]
            name = f"file-{len(self.server.files)}"
            self.server.files[name] = b"\n".join(lines)
            self._send({"id": name})
        else:
            batch = json.loads(data) | {"id": f"batch-{len(self.server.batches)}"}
            self.server.batches.append(batch)
            self._send(batch)

    def _body(self) -> bytes:
        if "content-length" in self.headers:
            return self.rfile.read(int(self.headers["content-length"]))
        parts = []  # in chunks
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def do_GET(self) -> None:
        vendor, parts = self.server, self.path.split("?")[0].split("/")[2:]
        if parts == ["batches"]:
            self._send({"data": [batch | {"status": vendor.state} for batch in vendor.batches]})
        elif parts[0] == "batches":
            batch = next(one for one in vendor.batches if one["id"] == parts[1]) | {"status": vendor.state}
            if vendor.state == "completed":
                batch["output_file_id"] = vendor.results(batch)
            self._send(batch)
        else:
            self._send(vendor.files[parts[1]])

    def _send(self, content: Any) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(self.server.status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with Vendor() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def step(vendor: Vendor, folder: Path, *, count: int = 4) -> list[Batch]:
    """Write, and bring every file one step on, as a process that starts anew."""
    asked = questions(vendor.provider(), count)
    with Ledger(folder / "ledger.sqlite") as ledger:
        write(asked, folder / "out", Form.OPENAI, ledger, most=(2, 10**9))
        paths = sorted((folder / "out").glob("batch-*.jsonl"))
        return asyncio.run(advance(paths, lambda: asked, vendor.provider(), ledger, folder / "in"))


def test_files_are_submitted_once_and_their_results_are_answers(vendor: Vendor, tmp_path: Path) -> None:
    assert [batch.state for batch in step(vendor, tmp_path)] == ["in_progress"] * 2
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


def test_an_expired_batch_may_be_submitted_again(vendor: Vendor, tmp_path: Path) -> None:
    step(vendor, tmp_path)
    vendor.state = "expired"
    assert all(batch.over for batch in step(vendor, tmp_path))
    step(vendor, tmp_path)
    assert len(vendor.batches) == 4


@pytest.mark.parametrize(("status", "kind"), [(401, ProviderError), (400, ProviderError), (503, Interrupted)])
def test_a_call_that_is_not_accepted_is_said(
    vendor: Vendor, tmp_path: Path, status: int, kind: type[Exception]
) -> None:
    vendor.status = status
    with pytest.raises(kind, match=f"HTTP {status}"):
        step(vendor, tmp_path)
