"""The engine: a stream of requests in, a stream of answers out, each kept before it is given.

Many requests are on the way at once, memory holds a window of them, and the answers come in the order of the
requests unless that does not matter. It can be killed anywhere; the same requests go on where it stopped.
"""

import asyncio
import contextlib
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
)
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from kalign.errors import DataError, Interrupted, KalignError, ProviderError
from kalign.providers.answer import Answer, Status, Usage
from kalign.providers.attempts import Attempts
from kalign.providers.budget import Budget
from kalign.providers.client import Client
from kalign.providers.flow import Flow, chunks
from kalign.providers.lanes import Lane
from kalign.providers.ledger import Ledger
from kalign.providers.progress import Progress
from kalign.providers.reading import Again, Outcome, Refused, read
from kalign.providers.request import Request
from kalign.providers.stopping import stop_signals
from kalign.providers.writer import Writer

PATIENCE = 120.0  # seconds that a model may answer nothing before it is left for the next run
DRAIN = 10.0  # seconds that answers on the way have after Ctrl-C
T = TypeVar("T")


class Engine:
    """Asks models, and keeps every answer in a ledger.

    Args:
        ledger: an open one, or the path of one that is opened and closed with the engine.
        budget: US dollars that all answers in the ledger may cost together; None for no cap.
        deadline: seconds after which no further request is sent.
        offline: answer from the ledger alone, and never touch a network.
        patience: seconds that a model may answer nothing, or ask to wait.
        progress: show how far it is, on standard error, if that is a terminal.
    """

    def __init__(
        self,
        ledger: Ledger | Path | str,
        *,
        budget: float | None = None,
        deadline: float | None = None,
        offline: bool = False,
        patience: float = PATIENCE,
        progress: bool = True,
    ) -> None:
        self._given = ledger
        self._cap = budget
        self._deadline = deadline
        self._offline = offline
        self._patience = patience
        self._progress = progress
        self._runner: asyncio.Runner | None = None
        self._open = contextlib.AsyncExitStack()
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._flying: dict[str, asyncio.Task[Answer | None]] = {}
        self._stop: KalignError | None = None
        self._drain: float | None = None

    def __enter__(self) -> "Engine":
        self._runner = asyncio.Runner()
        try:
            self._run(self.__aenter__)
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._runner is not None
        try:
            self._run(self.__aexit__)
        finally:
            self._runner.close()
            self._runner = None

    async def __aenter__(self) -> "Engine":
        async with contextlib.AsyncExitStack() as opening:
            if isinstance(self._given, Ledger):
                self.ledger = self._given
            else:
                self.ledger = opening.enter_context(Ledger(self._given))
            self._budget = Budget(self._cap, self.ledger.spent())
            self._client = Client()
            opening.push_async_callback(self._client.close)
            self._writer = Writer(self.ledger)
            opening.push_async_callback(self._writer.close)
            opening.enter_context(stop_signals(self._interrupt))
            if self._deadline is not None:
                loop = asyncio.get_running_loop()
                opening.callback(loop.call_later(self._deadline, self._run_out).cancel)
            self._open = opening.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    @property
    def spent(self) -> float:
        """US dollars that the ledger's answers have cost so far."""
        return self._budget.spent

    async def map(
        self,
        requests: Iterable[Request] | AsyncIterable[Request],
        *,
        ordered: bool = True,
        total: int | None = None,
        label: str = "answers",
    ) -> AsyncIterator[Answer]:
        """Yield the answer to each request, once it is in the ledger.

        Args:
            ordered: in the order of the requests; False gives each as soon as it is there.
            total: how many requests there are, for the time that is left.
            label: what the progress bar calls them.

        Raises:
            Interrupted: some requests are left for the next run: a model is not available, the budget or the
                time is used up, or the user asked to stop. Everything that was answered is kept.
            ProviderError: a key, a quota or a model's name is not accepted.
            ResourceError: the ledger's disk is full.
        """
        async with contextlib.aclosing(self._batches(requests, ordered, total, label)) as batches:
            async for batch in batches:
                for answer in batch:
                    yield answer

    def answers(self, requests: Iterable[Request], **options: Any) -> Iterator[Answer]:
        """The same as `map` for code that is not asynchronous; requests are on the way while it waits."""
        options = {"ordered": True, "total": None, "label": "answers"} | options
        batches = self._batches(requests, **options)
        try:
            while batch := self._run(lambda: anext(batches, [])):
                yield from batch
        finally:
            self._run(batches.aclose)

    def _run(self, make: Callable[[], Awaitable[T]]) -> T:
        assert self._runner is not None, "enter the engine with `with` before asking"

        async def wait() -> T:
            return await make()

        return self._runner.run(wait())

    async def _batches(
        self,
        requests: Iterable[Request] | AsyncIterable[Request],
        ordered: bool,
        total: int | None,
        label: str,
    ) -> AsyncGenerator[list[Answer], None]:
        """Yield answers that are ready together; never an empty list."""
        flow = Flow(ordered=ordered)
        with Progress(total, label, shown=self._progress) as progress:
            try:
                async for ready in self._through(flow, requests):
                    if ready:
                        progress.show(ready, self._budget.spent)
                        yield ready
                if self._stop:
                    await flow.drain(self._drain)
                    raise self._stop
            finally:
                await flow.cancel()
        if flow.left:
            raise self._what_is_left(flow.left)

    async def _through(
        self, flow: Flow, requests: Iterable[Request] | AsyncIterable[Request]
    ) -> AsyncGenerator[list[Answer], None]:
        """Send requests through the window, until all are through or the engine stops."""
        async for chunk in chunks(requests):
            for entry in self._entries(chunk):
                flow.add(entry)
                while flow.full(self._window()) and not self._stop:
                    await flow.changed()
                    yield flow.ready()
                if self._stop:
                    return
            yield flow.ready()
        while flow.unfinished and not self._stop:
            await flow.changed()
            yield flow.ready()

    def _entries(self, chunk: list[Request]) -> Iterator["Answer | asyncio.Task[Answer | None]"]:
        """Each request's answer from the ledger, or the task that fetches it."""
        keyed = [(request.key(), request) for request in chunk]
        found = self.ledger.find(dict(keyed), unfinished=True)
        for key, request in keyed:
            known = found.get(key)
            if known is not None and (self._offline or known.final):
                yield known if known.request is request else replace(known, request=request)
            elif self._offline:
                raise DataError(
                    f"the ledger {self.ledger.path} has no answer of {request.provider.name} for "
                    f"{request.about or key[:12]}; run again without offline"
                )
            else:
                yield self._task(key, request, known)

    def _task(self, key: str, request: Request, before: Answer | None) -> "asyncio.Task[Answer | None]":
        flying = self._flying.get(key)
        if flying is not None:
            return asyncio.create_task(_shared(flying, request))
        self._budget.require_price(request)
        task = asyncio.create_task(self._ask(key, request, before))
        self._flying[key] = task
        task.add_done_callback(lambda _: self._flying.pop(key, None))
        return task

    async def _ask(self, key: str, request: Request, before: Answer | None) -> Answer | None:
        """The answer, kept; None if it is left for another run."""
        lane = self._lane(request)
        attempts = Attempts(request, lane)
        started = time.monotonic()
        while True:
            if self._stop or not await lane.enter(first=attempts.count > 0):
                await self._writer.lose(request, attempts.cost)
                return None if self._stop or before is None else before
            try:
                outcome = await self._attempt(request, attempts)
            finally:
                lane.leave()
            if outcome is None:
                continue  # the budget is used up, and the engine stops
            ended = attempts.judge(outcome)
            if ended is None:
                await self._sleep(attempts.pause)
                continue
            if isinstance(ended, ProviderError):
                self._halt(ended)
                continue
            answer = attempts.answer(key, ended, time.monotonic() - started)
            await self._kept(answer)
            if answer.status is Status.WRONG_MODEL and request.provider.other_model == "stop":
                self._halt(attempts.wrong_model(answer))
            return answer

    async def _attempt(self, request: Request, attempts: Attempts) -> Outcome | None:
        promised = await self._budget.promise(request)
        if promised is None:
            self._halt(
                Interrupted(
                    f"budget={self._cap:g} is reached: {self._budget.spent:.4f} US dollars are spent, and "
                    "the next request could cost more than is left; give a larger budget and run the same "
                    "command again"
                )
            )
            return None
        usage = Usage()
        try:
            attempts.begin()
            reply = await self._client.send(request.provider, request.body())
            outcome = reply if isinstance(reply, Again) else read(request, reply)
            usage = Usage() if isinstance(outcome, Refused) else outcome.usage
            return outcome
        finally:
            cost = request.provider.cost(usage.tokens_in, usage.tokens_out)
            attempts.paid(cost)
            self._budget.settle(promised, cost or 0.0)

    async def _kept(self, answer: Answer) -> None:
        try:
            await self._writer.keep(answer)
        except KalignError as wrong:
            self._halt(wrong)
            raise

    async def _sleep(self, seconds: float) -> None:
        lane_free = asyncio.get_running_loop().time() + seconds
        while not self._stop and (left := lane_free - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(min(left, 0.5))

    def _lane(self, request: Request) -> Lane:
        name = (request.provider.name, request.provider.model)
        if name not in self._lanes:
            self._lanes[name] = Lane(request.provider, self._patience)
        return self._lanes[name]

    def _window(self) -> int:
        return max(8, 2 * sum(lane.provider.max_concurrency for lane in self._lanes.values()))

    def _halt(self, reason: KalignError, drain: float | None = None) -> None:
        """Send nothing more; what is on the way has `drain` seconds, or all the time it needs."""
        if self._stop is None:
            self._stop, self._drain = reason, drain
        for lane in self._lanes.values():
            lane.close(reason)

    def _interrupt(self, signal: str) -> None:
        self._halt(Interrupted(f"{signal}: every answer so far is kept; run the same command again"), DRAIN)

    def _run_out(self) -> None:
        reason = f"the deadline of {self._deadline:g} s is over; run the same command again"
        self._halt(Interrupted(reason), DRAIN)

    def _what_is_left(self, left: int) -> Interrupted:
        closed = [str(lane.closed) for lane in self._lanes.values() if lane.closed]
        return Interrupted(f"{'; '.join(closed)}; {left} requests are left: run the same command again")


async def _shared(flying: "asyncio.Task[Answer | None]", request: Request) -> Answer | None:
    answer = await asyncio.shield(flying)
    return None if answer is None else replace(answer, request=request)
