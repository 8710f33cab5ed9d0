"""What an actor gives to whoever asked, without Ray: an actor is an ordinary object."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kalign.errors import ConfigError, Interrupted, ProviderError
from kalign.providers import Engine, Provider
from kalign.providers.rays import Actor, _kept
from kalign.providers.spool import Spool, written
from tests.providers.conftest import questions
from tests.providers.server import always, fault, first, says, serving


@pytest.fixture(autouse=True)
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files go."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    before = os.umask(0o022)
    yield place
    os.umask(before)


def given(provider: Provider, count: int, folder: Path) -> tuple[int, float]:
    """How many answers an actor gives that are final, and what the ledger of whoever asked has spent."""
    asked = questions(provider, count)
    actor = Actor(provider, on_gpu=False)
    rows = actor.answers([written(one) for one in asked])
    actor.close()
    with Engine(folder / "ledger.sqlite") as engine:
        return _kept(rows, Spool(asked), engine), engine.ledger.spent()


def test_an_actor_that_is_closed_leaves_nothing_behind(private: Path, tmp_path: Path) -> None:
    with serving(always(says("ok"))) as server:
        assert given(server.provider("m"), 3, tmp_path)[0] == 3
    assert not list(private.iterdir())


def test_attempts_of_an_actor_that_came_to_nothing_are_paid_for_too(tmp_path: Path) -> None:
    empty = says("", tokens=(1000, 0))
    with serving(first(empty, empty, then=says("ok", tokens=(1000, 0)))) as server:
        priced = server.provider("m", price_in=1.0, price_out=1.0)
        assert given(priced, 1, tmp_path) == (1, pytest.approx(0.003, rel=0.01))


def test_what_was_paid_before_a_key_was_refused_is_kept(tmp_path: Path) -> None:
    empty = says("", tokens=(1000, 0))
    with serving(first(empty, then=fault(401))) as server:
        priced = server.provider("m", price_in=1.0, price_out=1.0)
        with pytest.raises(ProviderError, match="401"):
            given(priced, 1, tmp_path)
    with Engine(tmp_path / "ledger.sqlite") as engine:
        assert engine.spent == pytest.approx(0.001, rel=0.01)


def test_an_actor_that_cannot_start_says_why_in_a_sentence(tmp_path: Path) -> None:
    missing = Provider(name="local", model="no-such-folder", base_url=None)
    with pytest.raises(ConfigError, match="no-such-folder is no model"):
        given(missing, 1, tmp_path)


def test_a_busy_model_is_left_for_the_next_run(tmp_path: Path) -> None:
    with (
        serving(always(fault(429, headers={"retry-after": "3600"}))) as server,
        pytest.raises(Interrupted, match="3600"),
    ):
        given(server.provider("m"), 1, tmp_path)
