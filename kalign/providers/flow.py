"""The window of answers between a stream of requests and whoever reads the answers."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from itertools import islice

from kalign.providers.answer import Answer
from kalign.providers.progress import Progress
from kalign.providers.request import Request

AT_ONCE = 64  # requests looked up in the ledger together
HELD = 4  # windows of finished answers that may wait for a slow one before them

Entry = Answer | asyncio.Task[Answer | None]


class Flow:
    """Answers and the tasks that fetch them, in the order of the requests or of their arrival."""

    def __init__(self, *, ordered: bool, progress: Progress) -> None:
        self.left = 0  # requests that the next run will have to ask
        self.unfinished = 0
        self._ordered = ordered
        self._progress = progress
        self._held: deque[Entry] = deque()
        self._tasks: set[asyncio.Task[Answer | None]] = set()
        self._changed = asyncio.Event()

    @property
    def empty(self) -> bool:
        """Whether everything that went in came out."""
        return not self.unfinished and not self._held

    def add(self, entry: Entry) -> None:
        """Take in the next request's answer, or its task."""
        if isinstance(entry, asyncio.Task):
            self.unfinished += 1
            self._tasks.add(entry)
            entry.add_done_callback(self._finished)
            if self._ordered:
                self._held.append(entry)
        else:
            self._held.append(entry)

    def full(self, window: int) -> bool:
        """Whether something must come out before anything more goes in."""
        return self.unfinished >= window or len(self._held) >= HELD * window

    async def changed(self) -> None:
        """Wait until another task has ended, or answers are ready."""
        if self.unfinished and not (self._held and self._is_done(self._held[0])):
            await self._changed.wait()
        self._changed.clear()

    def ready(self) -> list[Answer]:
        """Take out what may be given now.

        After a request that is left, an ordered flow gives nothing more: later answers are in the ledger, and
        come in their order when that one is answered too.

        Raises:
            Exception: what a task ended with.
        """
        answers: list[Answer] = []
        while self._held and self._is_done(self._held[0]):
            entry = self._held.popleft()
            answer = entry.result() if isinstance(entry, asyncio.Task) else entry
            if answer is None:
                self.left += 1
            elif not (self._ordered and self.left):
                answers.append(answer)
        self._progress.show(answers)
        return answers

    async def drain(self, seconds: float | None) -> None:
        """Wait for what is on the way, at most so long."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    async def close(self) -> None:
        """End every task that is still there."""
        for task in self._tasks:
            task.cancel()
        held = [entry for entry in self._held if isinstance(entry, asyncio.Task)]
        await asyncio.gather(*self._tasks, *held, return_exceptions=True)
        self._held.clear()
        self._progress.close()

    def _finished(self, task: asyncio.Task[Answer | None]) -> None:
        self.unfinished -= 1
        self._tasks.discard(task)
        if not self._ordered:
            self._held.append(task)
        self._changed.set()

    @staticmethod
    def _is_done(entry: Entry) -> bool:
        return not isinstance(entry, asyncio.Task) or entry.done()


async def chunks(requests: Iterable[Request] | AsyncIterable[Request]) -> AsyncIterator[list[Request]]:
    """Yield the requests in lists: many of what is there already, one by one of what is still being made."""
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield [request]
        return
    stream = iter(requests)
    while some := list(islice(stream, AT_ONCE)):
        yield some
