"""What the tests of the engine share: short questions, and an engine on a fresh ledger."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from kalign.providers import Answer, Engine, Provider, Request
from kalign.records import Message


def question(provider: Provider, number: int = 0, **options: Any) -> Request:
    """A request that differs from others by its number."""
    turn = Message(role="user", content=f"질문 {number}")
    return Request(provider=provider, messages=(turn,), about=f"item-{number}", **options)


def questions(provider: Provider, count: int, **options: Any) -> list[Request]:
    return [question(provider, number, **options) for number in range(count)]


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., list[Answer]]:
    """Ask all requests in one engine on the test's ledger."""

    def all_answers(requests: Iterable[Request], **options: Any) -> list[Answer]:
        with Engine(tmp_path / "ledger.sqlite", **options) as engine:
            return list(engine.answers(requests))

    return all_answers
