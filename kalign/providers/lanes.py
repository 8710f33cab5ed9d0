"""How fast one model is asked: what all requests to it share, so that none of them learns alone.

Only the monotonic clock is used; a clock that is set back changes nothing.
"""

import asyncio
import time
from collections import deque

from kalign.errors import Interrupted, KalignError
from kalign.providers.provider import Provider

BREAK_AFTER = 10  # failures in a row, after which one request at a time finds out whether it is over
LONGEST_PAUSE = 30.0  # seconds between attempts, unless the server names its own


class Lane:
    """The way to one model of one provider: how many requests may be on it, and when the next one may start.

    It opens with one request alone, so that a wrong key or name costs one request. A rate limit halves the
    number and pauses everybody; each success lets it grow again. A model that answers nothing for `patience`
    seconds, or asks for a longer pause, is left for the next run.
    """

    def __init__(self, provider: Provider, patience: float) -> None:
        self.provider = provider
        self.patience = patience
        self.successes = 0  # answers of any kind
        self.refusals = 0  # those that would not take the request
        self.closed: KalignError | None = None
        self._allowed = 1.0
        self._steady = float(provider.max_concurrency)  # up to here it doubles, from here it creeps
        self._running = 0
        self._waiting: deque[asyncio.Future[bool]] = deque()
        self._paused_until = 0.0
        self._cut_at = 0.0
        self._cuts = 0  # both since the last success
        self._failures = 0
        self._failing_since = 0.0
        self._next_start = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def healthy(self) -> bool:
        """Whether the model answers others, so that a request that keeps failing is at fault itself."""
        return bool(self.successes) and self._failures < BREAK_AFTER

    async def enter(self, *, first: bool = False) -> bool:
        """Wait until one more request may start; False if none ever may.

        Args:
            first: before everybody who waits already, because this request has waited before.
        """
        if self.closed:
            return False
        place: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if first else self._waiting.append)(place)
        self._let_in()
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.result():
                self.leave()
            raise

    def leave(self) -> None:
        """One request less is on the way."""
        self._running -= 1
        self._let_in()

    def succeeded(self) -> None:
        """The model answered, whatever it said."""
        most = self.provider.max_concurrency
        step = 1.0 if self._allowed < self._steady else 1 / self._allowed
        self._allowed = min(most, self._allowed + step) if self.successes else most
        self.successes += 1
        self._failures = self._cuts = 0

    def limited(self, started: float, after: float | None, reason: str) -> None:
        """The server asks for patience; everybody waits, for as long as it says."""
        self._note_failure(reason)
        if after is not None and after > self.patience:
            self._give_up(f"it asks to wait {after:.0f} s ({reason})")
        if started > self._cut_at:  # those that were on the way together count once
            self._allowed = self._steady = max(1.0, self._allowed / 2)
            self._cut_at = time.monotonic()
            self._cuts += 1
            if after is None:
                self._pause(self._doubled(self._cuts))
        if after is not None:
            self._pause(after)

    def failed(self, started: float, reason: str) -> None:
        """A request failed in a way that may be the endpoint's fault."""
        self._note_failure(reason)
        if self._failures >= BREAK_AFTER and started > self._cut_at:
            self._allowed = 1.0
            self._cut_at = time.monotonic()
            self._cuts += 1
            self._pause(self._doubled(self._cuts))

    def close(self, reason: KalignError) -> None:
        """Let nobody in any more; those on the way come to their end."""
        self.closed = self.closed or reason
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(False)

    def give_up(self, reason: str) -> None:
        """Leave the rest of this model's requests for the next run."""
        self._give_up(reason)

    def _note_failure(self, reason: str) -> None:
        now = time.monotonic()
        if not self._failures:
            self._failing_since = now
        self._failures += 1
        if now - self._failing_since > self.patience:
            self._give_up(f"it has answered nothing for {self.patience:.0f} s ({reason})")

    def _give_up(self, reason: str) -> None:
        name = f"{self.provider.name}:{self.provider.model}"
        self.close(Interrupted(f"{name} is left for later, because {reason}"))

    def _doubled(self, times: int) -> float:
        return min(self.provider.backoff * 2.0 ** min(times - 1, 10), LONGEST_PAUSE)

    def _pause(self, seconds: float) -> None:
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    def _let_in(self) -> None:
        while self._waiting and self._running < int(self._allowed) and not self.closed:
            now = time.monotonic()
            start = max(self._paused_until, self._next_start)
            if start > now:
                self._wake_in(start - now)
                return
            place = self._waiting.popleft()
            if place.done():  # whoever waited was cancelled
                continue
            if self.provider.requests_per_minute:
                self._next_start = now + 60 / self.provider.requests_per_minute
            self._running += 1
            place.set_result(True)

    def _wake_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._let_in)
