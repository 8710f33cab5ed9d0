"""A loopback server that speaks OpenAI's protocol, misbehaves on order, and plays back recorded answers.

    with serving(playing(Path("answers.jsonl"))) as server:
        provider = server.provider("judge")

It runs in a thread of the test's own process, starts in milliseconds, and counts what it was asked.
"""

import asyncio
import contextlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kalign.config import Licence
from kalign.providers import Provider

Body = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the server sends for one request."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    wait: float = 0.0  # seconds before the first byte
    cut: int | None = None  # close the connection after so many bytes of the body
    drip: float = 0.0  # seconds between single bytes


def says(text: str | None, **fields: Any) -> Reply:
    """An ordinary answer; `finish`, `model`, `refusal`, `tokens`, and Reply's fields change it."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if "refusal" in fields:
        message["refusal"] = fields.pop("refusal")
    tokens = fields.pop("tokens", (10, 20))
    content = {
        "id": "1",
        "object": "chat.completion",
        "model": fields.pop("model", None),
        "choices": [{"index": 0, "finish_reason": fields.pop("finish", "stop"), "message": message}],
        "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]},
    }
    return Reply(body=json.dumps(content, ensure_ascii=False).encode(), **fields)


def fault(status: int, message: str = "no", **fields: Any) -> Reply:
    """An error as vendors send it; `code` is theirs."""
    error = {"message": message, "code": fields.pop("code", None)}
    return Reply(status=status, body=json.dumps({"error": error}).encode(), **fields)


Answering = Callable[[Body, int], Reply]  # the request's body, and how many there were before it


def always(reply: Reply) -> Answering:
    """The same reply to everything."""
    return lambda body, number: reply


def first(*replies: Reply, then: Reply) -> Answering:
    """These replies one after another, then always the same."""
    return lambda body, number: replies[number] if number < len(replies) else then


def playing(rows: Path | Sequence[Mapping[str, Any]]) -> Answering:
    """Recorded answers: the first row whose `match` fits gives the reply.

    A row is {"match": TEXT or [TEXTS], "answer": TEXT or JSON object or a list of them, "model": NAME,
    "status": CODE, "finish": WORD, "refusal": TEXT}; only `answer` must be there. Every text of `match` must
    stand somewhere in the request's messages, and `model` must be the model asked for. Of a list of answers,
    a hash of the messages and the number of times that they came picks one, so that the same run is answered
    the same. Without a fitting row the server answers 404, which stops the run and says what was asked.
    """
    if isinstance(rows, Path):
        lines = rows.read_text(encoding="utf-8").split("\n")
        rows = [json.loads(line) for line in lines if line.strip()]
    asked: Counter[str] = Counter()

    def answer(body: Body, number: int) -> Reply:
        said = "\n".join(message["content"] for message in body["messages"])
        for row in rows:
            match = row.get("match", [])
            wanted = [match] if isinstance(match, str) else match
            if row.get("model", body["model"]) != body["model"] or not all(text in said for text in wanted):
                continue
            answers = row["answer"] if isinstance(row["answer"], list) else [row["answer"]]
            turn = asked[f"{body['model']} {said}"]
            asked[f"{body['model']} {said}"] += 1
            chosen = answers[(sum(said.encode()) + turn) % len(answers)]
            text = chosen if isinstance(chosen, str | None) else json.dumps(chosen, ensure_ascii=False)
            if row.get("status", 200) != 200:
                return fault(row["status"], str(text))
            extra = {key: row[key] for key in ("finish", "refusal") if key in row}
            return says(text, model=body["model"], tokens=(len(said), len(text or "")), **extra)
        return fault(404, f"no recorded answer fits: {said[:300]}")

    return answer


@dataclass
class Server:
    """A running server, and what it was asked."""

    port: int
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    at_once: int = 0  # requests on the way now
    most_at_once: int = 0
    connections: set[asyncio.Transport] = field(default_factory=set, repr=False)

    @property
    def requests(self) -> int:
        """How many requests came."""
        return len(self.bodies)

    def provider(self, name: str = "stub", model: str = "stub-1", **settings: Any) -> Provider:
        """A provider at this server, which tries again quickly."""
        defaults: dict[str, Any] = {
            "base_url": f"http://127.0.0.1:{self.port}/v1",
            "backoff": 0.01,
            "timeout": 5.0,
            "price_in": 1.0,
            "price_out": 2.0,
            "licence": Licence(name="Apache-2.0"),
        }
        provider = Provider(name=name, model=model, **(defaults | settings))
        provider.check()
        return provider


@contextlib.contextmanager
def serving(answering: Answering) -> Iterator[Server]:
    """Answer on a free port of this machine."""
    loop = asyncio.new_event_loop()
    listening = loop.run_until_complete(
        loop.create_server(lambda: _Connection(answering, server), "127.0.0.1", 0, backlog=1024)
    )
    server = Server(port=listening.sockets[0].getsockname()[1])
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        listening.close()
        for connection in server.connections:
            connection.abort()
        loop.run_until_complete(asyncio.sleep(0))  # the sockets are closed in the loop's next turn
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


class _Connection(asyncio.Protocol):
    """One connection, kept open for one request after another."""

    def __init__(self, answering: Answering, server: Server) -> None:
        self._answering, self._server = answering, server
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.connections.add(transport)

    def connection_lost(self, wrong: Exception | None) -> None:
        self._server.connections.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank, rest = self._received.partition(b"\r\n\r\n")
        if not blank:
            return
        lines = [line.split(": ", 1) for line in head.decode("latin-1").split("\r\n")[1:]]
        headers = {name.lower(): value for name, value in lines}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self._received = rest[length:]
        body = json.loads(rest[:length]) if length else {}
        server = self._server
        number = server.requests
        server.bodies.append(body)
        server.headers.append(headers)
        server.at_once += 1
        server.most_at_once = max(server.most_at_once, server.at_once)
        reply = self._answering(body, number)
        if b'"model": null' in reply.body:
            reply_body = reply.body.replace(
                b'"model": null', b'"model": ' + json.dumps(body["model"]).encode()
            )
            reply = Reply(**{**reply.__dict__, "body": reply_body})
        asyncio.get_running_loop().call_later(reply.wait, self._send, reply)

    def _send(self, reply: Reply) -> None:
        self._server.at_once -= 1
        headers = {
            "content-type": "application/json",
            **reply.headers,
            "content-length": str(len(reply.body)),
        }
        head = f"HTTP/1.1 {reply.status} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        self._transport.write(head.encode() + b"\r\n")
        if reply.drip:
            self._drip(reply.body, reply.drip)
            return
        self._transport.write(reply.body[: reply.cut])
        if reply.cut is not None:
            self._transport.close()

    def _drip(self, left: bytes, seconds: float) -> None:
        if left and not self._transport.is_closing():
            self._transport.write(left[:1])
            asyncio.get_running_loop().call_later(seconds, self._drip, left[1:], seconds)
