"""Requests as rows of Ray Data, mapped by actors that each serve or reach the model: for local models on many
GPUs, one behind each actor.

The answers come back as rows and go into the engine's ledger as they come, so that a killed run goes on with
those that are left.
"""

import contextlib
import json
import logging
import os
import shutil
import signal
import tempfile
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from kalign.errors import ConfigError, DataError, Interrupted, KalignError, ProviderError, ResourceError
from kalign.providers import local, spool
from kalign.providers.answer import Answer
from kalign.providers.attempts import MOST_BILLED
from kalign.providers.budget import within
from kalign.providers.engine import Engine
from kalign.providers.ledger import read_answer, written_answer
from kalign.providers.provider import Provider
from kalign.providers.request import Request
from kalign.providers.spool import Spool

WAITS = 0.01  # cores of a task that only waits for an actor
ROLES = 8  # providers whose actors may be there at once on this machine
CPUS_BESIDE = 2  # for Ray Data's own tasks
CLOSING_SECONDS = 10.0  # that actors have to end their server and remove their ledger
FAILURE = "failure"  # the key of a row that says why an actor stopped
LOST = "lost"  # the key of a row that says what attempts cost that led to no answer
KINDS = {one.exit_code: one for one in (ConfigError, DataError, ProviderError, ResourceError)}


@dataclass(kw_only=True)
class Actors:
    """How many actors ask, and what each of them has; values and their comments stand in conf/pipeline/."""

    actors: int = 2
    gpus: float = 0.0
    rows: int = 64

    def check(self) -> None:
        """Raise ConfigError where a value is out of range."""
        for key, value in (("actors", self.actors), ("rows", self.rows)):
            if value < 1:
                raise ConfigError(f"ray.{key}={value} must be at least 1")
        if not self.gpus >= 0:  # not a number is none either
            raise ConfigError(
                f"ray.gpus={self.gpus} must be at least 0; it is a number of GPUs for each actor"
            )


class Rays:
    """The transport of Ray Data: every request goes to an actor, whatever its provider.

    Actors live until the transport is closed, so that a model is loaded once; where those of another provider
    do not fit beside them, the oldest ones make room.

    Args:
        origins: the providers as they were chosen, from which an actor can start a local server.
        budget: US dollars that all answers in the ledger may cost together.

    Raises:
        ConfigError: Ray is not installed.
    """

    def __init__(self, actors: Actors, origins: Sequence[Provider], *, budget: float | None = None) -> None:
        if find_spec("ray") is None:
            raise ConfigError("transport=ray needs Ray, which is not installed; pip install 'kalign[ray]'")
        self._wanted = actors
        self._origins = {_name(local.identified(one)): one for one in origins}
        self._budget = budget
        self._open = contextlib.ExitStack()
        self._actors: dict[str, list[Any]] = {}  # handles, by provider

    def takes(self, provider: Provider) -> bool:
        """Always."""
        return True

    def close(self) -> None:
        """End every actor, and the Ray that was started here."""
        while self._actors:
            self._make_room()
        self._open.close()

    def settle(self, requests: Spool, engine: Engine) -> int:
        """Ask everything, a provider after the other."""
        self._open.enter_context(_started(self._wanted))
        return sum(self._asked(requests, provider, engine) for provider in requests.providers())

    def _asked(self, requests: Spool, provider: Provider, engine: Engine) -> int:
        from ray import data

        left = None if self._budget is None else self._budget - engine.ledger.spent()
        came = 0
        with tempfile.TemporaryDirectory(prefix="kalign-") as private:
            # An actor knows no budget, and may ask for one answer several times
            fitting = within(left, requests.of(provider), share=MOST_BILLED)
            if not _written(fitting, Path(private), self._wanted.rows):
                raise Interrupted(
                    f"budget={self._budget:g} is reached: {engine.ledger.spent():.4f} US dollars are spent; "
                    "give a larger budget and run the same command again"
                )
            answered = data.read_text(private).map_batches(
                _handed,
                fn_args=(self._handles(provider),),
                batch_size=self._wanted.rows,
                concurrency=self._wanted.actors,
                num_cpus=WAITS,
            )
            for batch in answered.iter_batches(batch_size=None):
                came += _kept(batch["answer"], requests, engine)
                engine.check()
        return came

    def _handles(self, provider: Provider) -> list[Any]:
        """The actors of a provider; others make room for them, if they must.

        Raises:
            ConfigError: this machine has fewer GPUs than they need.
        """
        import ray

        name = _name(provider)
        if name not in self._actors:
            each = self._wanted.gpus * self._wanted.actors
            if each > _gpus() and not os.environ.get("RAY_ADDRESS"):  # a cluster may grow
                raise ConfigError(
                    f"ray.actors={self._wanted.actors} with ray.gpus={self._wanted.gpus:g} need {each:g} "
                    f"GPUs, and Ray finds {_gpus():g} here; give smaller numbers, or ray.gpus=0"
                )
            while self._actors and (
                len(self._actors) >= ROLES or (each and each * (len(self._actors) + 1) > _gpus())
            ):
                self._make_room()
            worker = ray.remote(Actor).options(
                num_cpus=0 if self._wanted.gpus else 1,
                num_gpus=self._wanted.gpus,
                max_concurrency=self._wanted.actors + 1,  # it can be closed whatever it does
            )
            chosen = self._origins.get(name, provider)
            self._actors[name] = [
                worker.remote(chosen, self._wanted.gpus > 0) for _ in range(self._wanted.actors)
            ]
        return self._actors[name]

    def _make_room(self) -> None:
        """End the actors that have been there longest."""
        import ray

        oldest = self._actors.pop(next(iter(self._actors)))
        closing = [handle.close.remote() for handle in oldest]
        ray.wait(closing, num_returns=len(closing), timeout=2 * CLOSING_SECONDS)
        for handle in oldest:
            ray.kill(handle)


class Actor:
    """Answers rows in a process of its own, with a ledger that ends with it; the rows it gives are kept by
    whoever asked."""

    def __init__(self, provider: Provider, on_gpu: bool) -> None:
        os.umask(0o077)
        self._chosen = provider
        self._device = "cuda:0" if on_gpu else "cpu"
        self._running = contextlib.ExitStack()
        self._folder: str | None = None  # of the ledger, once it is open
        self._thread = ThreadPoolExecutor(max_workers=1)  # the engine stays in the thread that opened it

    def answers(self, rows: Sequence[str]) -> list[str]:
        """The answers to rows, what was lost on the way, and the reason if it could not answer all."""
        return self._thread.submit(self._answers, rows).result()

    def close(self) -> None:
        """End the server, and remove the ledger even while something is asked."""
        ended = self._thread.submit(self._running.close)
        try:
            ended.result(timeout=CLOSING_SECONDS)
        except TimeoutError:
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self, rows: Sequence[str]) -> list[str]:
        try:
            if self._folder is None:
                self._open()
        except KalignError as wrong:
            return [_failure(wrong)]
        return _asked([spool.read(row, self._provider) for row in rows], self._engine)

    def _open(self) -> None:
        [self._provider] = self._running.enter_context(local.started([self._chosen], device=self._device))
        folder = self._running.enter_context(tempfile.TemporaryDirectory(prefix="kalign-"))
        self._engine = self._running.enter_context(Engine(Path(folder) / "ledger.sqlite", progress=False))
        self._folder = folder


def _asked(requests: Sequence[Request], engine: Engine) -> list[str]:
    """The rows of an actor's answers: all that its ledger has in the end, what else was paid, and why some
    are missing."""
    keyed = {request.key(): request for request in requests}
    before, spent = engine.ledger.find(keyed, unfinished=True), engine.spent
    failures = []
    try:
        for _ in engine.answers(requests, ordered=False):
            pass
    except KalignError as wrong:
        failures = [_failure(wrong)]
    known = engine.ledger.find(keyed, unfinished=True)
    fresh = {key: one for key, one in known.items() if before.get(key) != one}
    given = {key: one for key, one in known.items() if one.final} | fresh
    lost = engine.spent - spent - sum(one.cost or 0.0 for one in fresh.values())
    rows = [json.dumps(written_answer(one)) for one in given.values()]
    if lost > 1e-12:  # what adding and subtracting floats leaves behind
        rows.append(json.dumps({LOST: lost, "key": next(iter(keyed))}))
    return rows + failures


def _failure(wrong: KalignError) -> str:
    return json.dumps({FAILURE: str(wrong), "code": wrong.exit_code})


def _handed(batch: Mapping[str, Any], handles: Sequence[Any]) -> dict[str, list[str]]:
    """Hand a batch of Ray Data to one of the actors, which its content picks, and wait for the answers."""
    import ray

    rows = [str(row) for row in batch["text"]]
    handle = handles[zlib.crc32(rows[0].encode()) % len(handles)]
    return {"answer": ray.get(handle.answers.remote(rows))}


def _written(requests: Iterator[Request], folder: Path, rows: int) -> int:
    """Write the requests into files of so many rows, and return how many files there are."""
    count = 0
    while some := list(islice(requests, rows)):
        lines = "".join(f"{spool.written(one)}\n" for one in some)
        (folder / f"{count:06}.jsonl").write_text(lines, encoding="ascii")
        count += 1
    return count


def _kept(rows: Iterable[str], requests: Spool, engine: Engine) -> int:
    """Keep the answers that rows hold and what else was paid, and return how many answers are final.

    Raises:
        KalignError: an actor could not answer everything; of the actor's own kind.
    """
    read = [json.loads(row) for row in rows]
    notes = [row for row in read if isinstance(row, dict)]
    given = {str(row[0]): row for row in read if isinstance(row, list)}
    known = requests.find(given)
    answers: list[Answer] = [read_answer(given[key], request) for key, request in known.items()]
    lost = [(requests.find([note["key"]])[note["key"]], float(note[LOST])) for note in notes if LOST in note]
    engine.ledger.keep(answers, lost)
    for note in notes:
        if FAILURE in note:
            raise KINDS.get(note["code"], Interrupted)(note[FAILURE])
    return sum(answer.final for answer in answers)


@contextlib.contextmanager
def _started(actors: Actors) -> Iterator[None]:
    """A Ray of this machine for as long as it is needed, or the cluster that RAY_ADDRESS names."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    import ray
    from ray.data import DataContext

    if ray.is_initialized():
        yield
        return
    here = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": CPUS_BESIDE + ROLES * actors.actors}
    before = signal.getsignal(signal.SIGTERM)
    ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False, **here)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)  # Ray would leave with a code of its own
    DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    try:
        yield
    finally:
        ray.shutdown()


def _gpus() -> float:
    """How many GPUs the cluster has."""
    import ray

    return float(ray.cluster_resources().get("GPU", 0.0))


def _name(provider: Provider) -> str:
    return f"{provider.name}:{provider.model}"
