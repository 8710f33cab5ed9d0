"""Batches: the same requests as files for vendors that answer within a day for half the price, and their
result files into the same ledger.

Write the files, hand them to the vendor, and take its results in, in any order and as often as wanted; what a
batch left unanswered is written again, or asked by the engine.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

from kalign import files
from kalign.errors import ConfigError, DataError
from kalign.providers.answer import Answer, Status
from kalign.providers.ledger import Ledger
from kalign.providers.reading import Again, Ended, Refused, Reply, read, wrong_model
from kalign.providers.request import Request
from kalign.providers.spool import Spool

AT_ONCE = 200
SHARE = 0.5  # of the ordinary price


class Form(StrEnum):
    """Whose files they are."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"


# What one file may hold: (requests, bytes)
# Source: https://platform.openai.com/docs/guides/batch and
# https://docs.anthropic.com/en/docs/build-with-claude/batch-processing
MOST = {Form.OPENAI: (50_000, 200_000_000), Form.ANTHROPIC: (100_000, 256_000_000)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a result file gave: answers kept by status, requests still open, rows of no request."""

    kept: Mapping[Status, int]
    left: int
    unknown: int


def write(
    requests: Iterable[Request],
    folder: Path,
    form: Form,
    ledger: Ledger,
    *,
    most: tuple[int, int] | None = None,
) -> list[Path]:
    """Write what the ledger has no answer to, as files that one batch each may hold, readable by their owner.

    A file is named by its content, so that the same requests give the same files.

    Args:
        most: requests and bytes of one file, in place of the vendor's bounds.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    bounds = most or MOST[form]
    paths: list[Path] = []
    part = _Part(folder)
    try:
        for line in _lines(requests, form, ledger):
            if part.lines and (part.lines == bounds[0] or part.size + len(line) > bounds[1]):
                paths.append(part.close())
                part = _Part(folder)
            part.add(line)
        if part.lines:
            paths.append(part.close())
    finally:
        part.discard()
    return paths


def take_in(results: Path, requests: Spool, ledger: Ledger) -> Taken:
    """Keep the answers of a vendor's result file; taking the same file in again changes nothing.

    Args:
        requests: those that the files were written from; more do no harm.

    Raises:
        DataError: the file is no result of a batch.
        ProviderError: another model answered than was asked, and the provider does not allow it.
    """
    kept: Counter[Status] = Counter()
    left = unknown = 0
    stream = _results(results)
    while some := dict(islice(stream, AT_ONCE)):
        wanted = requests.find(some)
        unknown += len(some) - len(wanted)
        known = ledger.find(wanted)
        answers = [_answer(key, one, some[key]) for key, one in wanted.items() if key not in known]
        ready = [answer for answer in answers if answer is not None]
        left += len(answers) - len(ready)
        ledger.keep(ready)
        kept.update(answer.status for answer in ready)
        _require_models(ready)
    return Taken(kept=dict(kept), left=left, unknown=unknown)


class _Part:
    """One file while it is written."""

    def __init__(self, folder: Path) -> None:
        self.lines = self.size = 0
        self._folder = folder
        self._path = folder / f".batch.{os.getpid()}.partial"
        self._stream = os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")

    def add(self, line: bytes) -> None:
        self._stream.write(line)
        self.lines += 1
        self.size += len(line)

    def discard(self) -> None:
        self._stream.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> Path:
        with self._stream:
            self._stream.flush()
            os.fsync(self._stream.fileno())
        path = self._folder / f"batch-{files.sha256(self._path)[:12]}.jsonl"
        self._path.replace(path)
        return path


def _lines(requests: Iterable[Request], form: Form, ledger: Ledger) -> Iterator[bytes]:
    seen: set[str] = set()
    stream = iter(requests)
    while some := list(islice(stream, AT_ONCE)):
        wanted = {key: request for key, request in _keyed(some) if key not in seen}
        seen |= wanted.keys()
        answered = ledger.find(wanted)
        for key, request in wanted.items():
            if key not in answered:
                row = _openai(key, request) if form is Form.OPENAI else _anthropic(key, request)
                yield json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _keyed(requests: Iterable[Request]) -> Iterator[tuple[str, Request]]:
    return ((request.key(), request) for request in requests)


def _openai(key: str, request: Request) -> dict[str, Any]:
    return {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": request.body()}


def _anthropic(key: str, request: Request) -> dict[str, Any]:
    """One entry of the list `requests` of Anthropic's call, which has a form of its own.

    Raises:
        ConfigError: a setting has no place in it.
    """
    settings, body = request.settings, request.body()
    if settings.seed is not None:
        raise ConfigError(
            f"sampling.seed={settings.seed} has no place in a batch of {request.provider.name}; leave it null"
        )
    system = "\n\n".join(turn.content for turn in request.messages if turn.role == "system")
    params: dict[str, Any] = {
        "model": body["model"],
        "max_tokens": settings.max_tokens or 1024,
        "messages": [turn for turn in body["messages"] if turn["role"] != "system"],
    }
    named = {"temperature": settings.temperature, "top_p": settings.top_p, "system": system or None}
    params |= {name: value for name, value in named.items() if value is not None}
    if settings.stop:
        params["stop_sequences"] = settings.stop
    return {"custom_id": key, "params": params | request.provider.extra}


def _results(path: Path) -> Iterator[tuple[str, Reply | None]]:
    """The rows of a result file; texts stay as they are, as those do that come over the wire."""
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _result(json.loads(line), f"{path}:{number}")
    except OSError as wrong:
        raise DataError(f"{path} cannot be read: {wrong.strerror}; give the vendor's result file") from wrong
    except (ValueError, RecursionError) as wrong:
        if isinstance(wrong, DataError):
            raise
        raise DataError(f"{path}:{number}: no JSON; give the file that the vendor returned") from wrong


def _result(row: Mapping[str, Any], where: str) -> tuple[str, Reply | None]:
    """A row's key, and the reply in it; None where the vendor sent none."""
    key = row.get("custom_id") if isinstance(row, dict) else None
    if not isinstance(key, str) or not ("response" in row or "result" in row or "error" in row):
        raise DataError(f"{where}: no result of a batch; give the file that the vendor returned")
    result = row.get("result")
    if isinstance(result, dict):  # Anthropic
        if result.get("type") == "succeeded":
            return key, _reply(200, result.get("message"))
        error = result.get("error") or {}
        inner = error.get("error") or error
        refused = inner.get("type") == "invalid_request_error"
        return key, _reply(400, {"error": inner}) if refused else None
    response = row.get("response")
    if not isinstance(response, dict):
        return key, None
    return key, _reply(int(response.get("status_code") or 502), response.get("body"))


def _reply(status: int, body: Any) -> Reply:
    return Reply(status=status, headers={}, body=json.dumps(body, ensure_ascii=False).encode())


def _answer(key: str, request: Request, reply: Reply | None) -> Answer | None:
    outcome = None if reply is None else read(request, reply)
    if isinstance(outcome, Again) and outcome.empty:
        outcome = Ended(status=Status.EMPTY, reason=outcome.reason, usage=outcome.usage)
    if outcome is None or isinstance(outcome, Again | Refused):
        return None
    cost = request.provider.cost(outcome.usage.tokens_in, outcome.usage.tokens_out)
    return outcome.answer(request, key, None if cost is None else cost * SHARE)


def _require_models(answers: Iterable[Answer]) -> None:
    for answer in answers:
        provider = answer.request.provider
        if answer.status is Status.WRONG_MODEL and provider.other_model == "stop":
            raise wrong_model(provider, answer)
