"""A vendor of batches of our own, in OpenAI's form and in Anthropic's; it keeps everything in memory."""

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from kalign.providers import Provider
from tests.providers.server import Reply, says

Answering = Callable[[Mapping[str, Any], int], Reply]


def echo(body: Mapping[str, Any], number: int) -> Reply:
    """Say the question again."""
    return says(body["messages"][-1]["content"], model=body["model"])


class Vendor(ThreadingHTTPServer):
    """How far a batch is, the test says; `OpenAI` words, which stand for Anthropic's too."""

    def __init__(self, answering: Answering = echo) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answering = answering
        self.files: dict[str, list[dict[str, Any]]] = {}
        self.batches: list[dict[str, Any]] = []  # of OpenAI's form
        self.messages: list[dict[str, Any]] = []  # of Anthropic's
        self.submitted: Counter[str] = Counter()  # how often each request came
        self.headers: list[dict[str, str]] = []
        self.state = "in_progress"
        self.status = 200
        self.failing = False  # every request of a batch ends with an error of the vendor's

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def provider(self, batch: str = "openai") -> Provider:
        return Provider(name="vendor", model="m-1", base_url=self.address, batch=batch)

    def said(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The completion that answers one request."""
        completion: dict[str, Any] = json.loads(self.answering(body, 0).body)
        return completion | {"model": body["model"]}

    def results(self, rows: list[dict[str, Any]]) -> bytes:
        """OpenAI's result file, in another order than the requests."""
        lines = []
        for row in reversed(rows):
            response = {"status_code": 200, "body": self.said(row["body"])}
            if self.failing:
                response = {"status_code": 500, "body": {"error": {"message": "oops"}}}
            lines.append({"custom_id": row["custom_id"], "response": response})
        return b"".join(json.dumps(line).encode() + b"\n" for line in lines)

    def message_results(self, rows: list[dict[str, Any]]) -> bytes:
        """Anthropic's."""
        lines = []
        for row in reversed(rows):
            params = dict(row["params"])
            if system := params.pop("system", None):
                params["messages"] = [{"role": "system", "content": system}, *params["messages"]]
            said = self.said(params)
            message = {
                "type": "message",
                "model": params["model"],
                "content": [{"type": "text", "text": said["choices"][0]["message"]["content"]}],
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 10, "output_tokens": 20},
            }
            lines.append({"custom_id": row["custom_id"], "result": {"type": "succeeded", "message": message}})
        return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


class Handler(BaseHTTPRequestHandler):
    server: Vendor

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        vendor, data = self.server, self._body()
        if self.path.endswith("/files"):
            lines = [json.loads(line) for line in data.splitlines() if line.startswith(b'{"custom_id"')]
            name = f"file-{len(vendor.files)}"
            vendor.files[name] = lines
            self._send({"id": name})
        elif self.path.endswith("/messages/batches"):
            rows = json.loads(data)["requests"]
            self._count(rows)
            batch = {"id": f"msgbatch-{len(vendor.messages)}", "rows": rows}
            vendor.messages.append(batch | {"created_at": datetime.now(UTC).isoformat()})
            self._send(self._message(vendor.messages[-1]))
        else:
            batch = json.loads(data) | {"id": f"batch-{len(vendor.batches)}"}
            self._count(vendor.files[batch["input_file_id"]])
            vendor.batches.append(batch)
            self._send(batch)

    def _count(self, rows: list[dict[str, Any]]) -> None:
        self.server.submitted.update(row["custom_id"] for row in rows)
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})

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
                batch["output_file_id"] = batch["input_file_id"]
            self._send(batch)
        elif parts == ["messages", "batches"]:
            self._send({"data": [self._message(batch) for batch in reversed(vendor.messages)]})
        elif parts[0] == "messages":
            batch = next(one for one in vendor.messages if one["id"] == parts[2])
            done = parts[-1] == "results"
            self._send(vendor.message_results(batch["rows"]) if done else self._message(batch))
        else:
            self._send(vendor.results(vendor.files[parts[1]]))

    def _message(self, batch: dict[str, Any]) -> dict[str, Any]:
        ended = self.server.state == "completed"
        counts = {"processing": 0, "succeeded": 0} | {
            "succeeded" if ended else "processing": len(batch["rows"])
        }
        told = {"processing_status": "ended" if ended else "in_progress", "request_counts": counts}
        return {key: batch[key] for key in ("id", "created_at")} | told

    def _send(self, content: Any) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(self.server.status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextlib.contextmanager
def selling(answering: Answering = echo) -> Iterator[Vendor]:
    """A vendor on a free port of this machine."""
    with Vendor(answering) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()
