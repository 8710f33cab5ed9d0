"""Asking one model one question: its place in the lane, its price in the budget, its attempts, and its answer
into the ledger."""

import asyncio
import time

from kalign.errors import Interrupted, KalignError, ProviderError
from kalign.providers.answer import Answer, Status, Usage
from kalign.providers.attempts import Attempts
from kalign.providers.budget import Budget
from kalign.providers.client import Client
from kalign.providers.lanes import Lane
from kalign.providers.reading import Again, Ended, Outcome, Refused, read, wrong_model
from kalign.providers.request import Request
from kalign.providers.writer import Writer


class Asking:
    """What all requests of one engine share, and the way of each one through it."""

    def __init__(self, writer: Writer, budget: Budget, *, patience: float) -> None:
        self.budget = budget
        self.stop: KalignError | None = None  # why nothing more is sent
        self.drain: float | None = None  # seconds for what is on the way then; None for all that it needs
        self._patience = patience
        self._writer = writer
        self._client = Client()
        self._lanes: dict[tuple[str, str], Lane] = {}

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()

    @property
    def window(self) -> int:
        """How many requests may be on the way or wait for it."""
        return max(8, 2 * sum(lane.provider.max_concurrency for lane in self._lanes.values()))

    async def ask(self, key: str, request: Request, before: Answer | None) -> Answer | None:
        """The answer, kept; None if it is left for another run."""
        lane = self._lane(request)
        attempts = Attempts(request, lane)
        started = time.monotonic()
        while True:
            if self.stop or not await lane.enter(first=attempts.count > 0):
                await self._writer.lose(request, attempts.cost)
                return None if self.stop or before is None else before
            try:
                ended = await self._attempt(request, attempts)
            finally:
                lane.leave()
            if ended is None:
                await self._sleep(attempts.pause)
                continue
            answer = attempts.answer(key, ended, time.monotonic() - started)
            await self._kept(answer)
            return answer

    async def _attempt(self, request: Request, attempts: Attempts) -> Ended | None:
        """How the request ended; None if it did not, and is sent again unless the engine stops."""
        outcome = await self._outcome(request, attempts)
        ended = None if outcome is None else attempts.judge(outcome)
        if isinstance(ended, ProviderError):
            self.halt(ended)
            return None
        if ended and ended.status is Status.WRONG_MODEL and request.provider.other_model == "stop":
            self.halt(wrong_model(request.provider, ended))
        return ended

    async def _outcome(self, request: Request, attempts: Attempts) -> Outcome | None:
        promised = await self.budget.promise(request)
        if promised is None:
            self.halt(
                Interrupted(
                    f"budget={self.budget.cap:g} is reached: {self.budget.spent:.4f} US dollars are spent, "
                    "and the next request could cost more than is left; give a larger budget and run the "
                    "same command again"
                )
            )
            return None
        usage = Usage()
        try:
            attempts.begin()
            reply = await self._client.send(request.provider, request.path, request.body())
            outcome = reply if isinstance(reply, Again) else read(request, reply)
            usage = Usage() if isinstance(outcome, Refused) else outcome.usage
            return outcome
        finally:
            cost = request.provider.cost(usage.tokens_in, usage.tokens_out)
            attempts.paid(cost)
            self.budget.settle(promised, cost or 0.0)

    async def _kept(self, answer: Answer) -> None:
        try:
            await self._writer.keep(answer)
        except KalignError as wrong:
            self.halt(wrong)
            raise

    async def _sleep(self, seconds: float) -> None:
        lane_free = asyncio.get_running_loop().time() + seconds
        while not self.stop and (left := lane_free - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(min(left, 0.5))

    def _lane(self, request: Request) -> Lane:
        name = (request.provider.name, request.provider.model)
        if name not in self._lanes:
            request.provider.key()  # missing, it is said before anything is sent
            self._lanes[name] = Lane(request.provider, self._patience)
        return self._lanes[name]

    def halt(self, reason: KalignError, drain: float | None = None) -> None:
        """Send nothing more; what is on the way has `drain` seconds, or all the time it needs."""
        if self.stop is None:
            self.stop, self.drain = reason, drain
        for lane in self._lanes.values():
            lane.close(reason)

    def what_is_left(self, left: int) -> Interrupted:
        """Why so many requests are left for the next run."""
        closed = [str(lane.closed) for lane in self._lanes.values() if lane.closed]
        return Interrupted(f"{'; '.join(closed)}; {left} requests are left: run the same command again")
