"""The engine: a stream of requests in, a stream of answers out, each kept before it is given.

Many requests are on the way at once, memory holds a window of them, and the answers come in the order of the
requests unless that does not matter. It can be killed anywhere; the same requests go on where it stopped.
"""

import asyncio
import contextlib
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
from itertools import islice
from pathlib import Path
from typing import TypeVar

from kalign.errors import ConfigError, DataError, Interrupted
from kalign.providers.answer import Answer
from kalign.providers.asking import Asking
from kalign.providers.budget import Budget
from kalign.providers.flow import AT_ONCE, Flow, chunks
from kalign.providers.ledger import Ledger
from kalign.providers.progress import Progress
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
        patience: seconds that a model may answer nothing, or ask to wait; `PATIENCE` unless given.
        progress: show how far it is, on standard error, if that is a terminal.
    """

    def __init__(
        self,
        ledger: Ledger | Path | str,
        *,
        budget: float | None = None,
        deadline: float | None = None,
        offline: bool = False,
        patience: float | None = None,
        progress: bool = True,
    ) -> None:
        self._given = ledger
        self._cap = budget
        self._deadline = deadline
        self._offline = offline
        self._patience = PATIENCE if patience is None else patience
        self._progress = progress
        self._runner: asyncio.Runner | None = None
        self._open = contextlib.AsyncExitStack()
        self._flying: dict[str, asyncio.Task[Answer | None]] = {}

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
            writer = Writer(self.ledger)
            opening.push_async_callback(writer.close)
            budget = Budget(self._cap, self.ledger.spent(), reserve=writer.reserve)
            self._asking = Asking(writer, budget, patience=self._patience)
            opening.push_async_callback(self._asking.close)
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
        return self._asking.budget.spent

    def run(self, make: Callable[[], Awaitable[T]]) -> T:
        """Run something else in the engine's loop, such as another transport of the same ledger."""
        return self._run(make)

    def check(self) -> None:
        """Raise what ends the engine, if the user or the deadline asked it to stop."""
        self._run(lambda: asyncio.sleep(0))  # lets a signal that came be heard
        if self._asking.stop:
            raise self._asking.stop

    def recount(self) -> None:
        """Take note of what another transport wrote into the ledger."""
        self._asking.budget.spent = self.ledger.spent()

    def require_price(self, request: Request) -> None:
        """Refuse a request whose cost nothing bounds, where there is a budget.

        Raises:
            ConfigError: its provider has no price, or its sampling no max_tokens.
        """
        self._asking.budget.require_price(request)

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
        flow = self._flow(ordered, total, label)
        try:
            async for chunk in chunks(requests):
                async for ready in self._push(flow, chunk):
                    for answer in ready:
                        yield answer
                if self._asking.stop:
                    break
            async for ready in self._finish(flow):
                for answer in ready:
                    yield answer
        finally:
            await flow.close()

    def answers(
        self,
        requests: Iterable[Request],
        *,
        ordered: bool = True,
        total: int | None = None,
        label: str = "answers",
    ) -> Iterator[Answer]:
        """The same as `map` for code that is not asynchronous; requests are on the way while it waits.

        The requests may be made from the answers of another call, so that two stages run at once.
        """
        flow = self._flow(ordered, total, label)
        stream = iter(requests)
        try:
            while not self._asking.stop and (chunk := list(islice(stream, AT_ONCE))):
                yield from self._driven(self._push(flow, chunk))
            yield from self._driven(self._finish(flow))
        finally:
            self._run(flow.close)

    def _driven(self, batches: AsyncGenerator[list[Answer], None]) -> Iterator[Answer]:
        try:
            while (batch := self._run(lambda: anext(batches, None))) is not None:
                yield from batch
        finally:
            self._run(batches.aclose)

    def _run(self, make: Callable[[], Awaitable[T]]) -> T:
        assert self._runner is not None, "enter the engine with `with` before asking"

        async def wait() -> T:
            return await make()

        return self._runner.run(wait())

    def _flow(self, ordered: bool, total: int | None, label: str) -> Flow:
        progress = Progress(total, label, shown=self._progress, spent=lambda: self._asking.budget.spent)
        return Flow(ordered=ordered, progress=progress)

    async def _push(self, flow: Flow, chunk: list[Request]) -> AsyncGenerator[list[Answer], None]:
        """Put requests into the window, and yield what comes out to make room for them."""
        for entry in self._entries(chunk):
            flow.add(entry)
            while flow.full(self._asking.window) and not self._asking.stop:
                await flow.changed()
                if ready := flow.ready():
                    yield ready
            if self._asking.stop:
                return
        if ready := flow.ready():
            yield ready

    async def _finish(self, flow: Flow) -> AsyncGenerator[list[Answer], None]:
        """Yield everything that is still in the window.

        Raises:
            KalignError: not every request has its answer.
        """
        while not flow.empty and not self._asking.stop:
            await flow.changed()
            if ready := flow.ready():
                yield ready
        if self._asking.stop:
            await flow.drain(self._asking.drain)
            raise self._asking.stop
        if flow.left:
            raise self._asking.what_is_left(flow.left)

    def _entries(self, chunk: list[Request]) -> Iterator["Answer | asyncio.Task[Answer | None]"]:
        """Each request's answer from the ledger, or the task that fetches it."""
        keyed = [(request.key(), request) for request in chunk]
        found = self.ledger.find(dict(keyed), unfinished=True)
        # Of the same instant: what is on the way now may end, and be forgotten, before its turn comes here
        flying = {key: self._flying[key] for key, _ in keyed if key in self._flying}
        for key, request in keyed:
            known = found.get(key)
            if known is not None and (self._offline or known.final):
                yield known if known.request is request else replace(known, request=request)
            elif self._offline:
                raise DataError(
                    f"the ledger {self.ledger.path} has no answer of {request.provider.name} for "
                    f"{request.about or key[:12]}; run again without offline"
                )
            elif key in flying:
                yield asyncio.create_task(_shared(flying[key], request))
            else:
                flying[key] = self._task(key, request, known)
                yield flying[key]

    def _task(self, key: str, request: Request, before: Answer | None) -> "asyncio.Task[Answer | None]":
        if request.provider.base_url is None:
            raise ConfigError(
                f"provider {request.provider.name} has no address yet; start its server with "
                "kalign.providers.local.started"
            )
        self._asking.budget.require_price(request)
        task = asyncio.create_task(self._asking.ask(key, request, before))
        self._flying[key] = task
        task.add_done_callback(lambda _: self._flying.pop(key, None))
        return task

    def _interrupt(self, signal: str) -> None:
        reason = f"{signal}: every answer so far is kept; run the same command again"
        self._asking.halt(Interrupted(reason), DRAIN)

    def _run_out(self) -> None:
        reason = f"the deadline of {self._deadline:g} s is over; run the same command again"
        self._asking.halt(Interrupted(reason), DRAIN)


async def _shared(flying: "asyncio.Task[Answer | None]", request: Request) -> Answer | None:
    answer = await asyncio.shield(flying)
    return None if answer is None else replace(answer, request=request)
