"""The one thread that writes the ledger; answers that arrive while it writes share the next commit."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from kalign.providers.answer import Answer
from kalign.providers.ledger import Ledger
from kalign.providers.request import Request

MOST_AT_ONCE = 200


class Writer:
    """Hands answers to the ledger, off the event loop."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._waiting: list[tuple[Answer, asyncio.Future[None]]] = []
        self._lost: list[tuple[Request, float]] = []
        self._task: asyncio.Task[None] | None = None
        self._reserved = False

    async def keep(self, answer: Answer) -> None:
        """Return when the answer is on disk.

        Raises:
            ResourceError: the disk is full.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((answer, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write())
        await done

    async def lose(self, request: Request, cost: float | None) -> None:
        """Note what attempts cost that led to no answer; written with the next commit."""
        if cost:
            self._lost.append((request, cost))

    async def reserve(self, dollars: float) -> None:
        """Return when the ledger has noted that so much may be paid without an answer.

        Raises:
            ResourceError: the disk is full.
        """
        self._reserved = True
        await asyncio.get_running_loop().run_in_executor(self._thread, self._ledger.reserve, dollars)

    async def close(self) -> None:
        """Write what is left, and end the thread."""
        if self._task is not None:
            await self._task
        if self._lost:
            lost, self._lost = self._lost, []
            self._ledger.keep([], lost)
        self._thread.shutdown()
        if self._reserved:  # everything that was on the way came to an end
            self._ledger.reserve(0.0)

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            some, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
            lost, self._lost = self._lost, []
            try:
                await loop.run_in_executor(
                    self._thread, self._ledger.keep, [answer for answer, _ in some], lost
                )
            except Exception as wrong:  # whatever it is, it is told to everybody who waits for this commit
                for _, done in some:
                    if not done.done():
                        done.set_exception(wrong)
                continue
            for _, done in some:
                if not done.done():
                    done.set_result(None)
