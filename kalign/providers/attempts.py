"""The attempts of one request: when to try again, and when enough is enough."""

import time

from kalign.errors import ProviderError
from kalign.providers.answer import Answer, Status
from kalign.providers.lanes import LONGEST_PAUSE, Lane
from kalign.providers.reading import Again, Ended, Outcome, Refused
from kalign.providers.request import Request

MOST_BILLED = 3  # attempts that were answered, and paid, but gave nothing that can be used


class Attempts:
    """How often one request was sent, what that cost, and what comes next."""

    def __init__(self, request: Request, lane: Lane) -> None:
        self.count = 0
        self.cost: float | None = None
        self.pause = 0.0  # seconds before the next one
        self._request = request
        self._lane = lane
        self._billed = 0
        self._counted = 0
        self._started = 0.0

    def begin(self) -> None:
        """One more is sent."""
        self.count += 1
        self._started = time.monotonic()

    def paid(self, cost: float | None) -> None:
        """Add what the last one cost."""
        if cost is not None:
            self.cost = (self.cost or 0.0) + cost

    def judge(self, outcome: Outcome) -> Ended | ProviderError | None:
        """What the last one means: the end, the end for everybody, or None to try again after `pause`."""
        if isinstance(outcome, Refused):
            name = self._request.provider.name
            return ProviderError(
                f"provider {name}: {outcome.reason}; mend it, and run the same command again"
            )
        if isinstance(outcome, Ended):
            self._lane.succeeded()
            return outcome
        return self._again(outcome)

    def _again(self, outcome: Again) -> Ended | None:
        lane, provider = self._lane, self._request.provider
        self.pause = 0.0
        if outcome.empty:
            lane.succeeded()
            self._billed += 1
            done = self._billed >= MOST_BILLED
            return Ended(status=Status.EMPTY, reason=outcome.reason, usage=outcome.usage) if done else None
        if outcome.limited:
            lane.limited(self._started, outcome.after, outcome.reason)
            return None  # the lane waits for everybody, and a limit is nobody's failure
        self._counted += 1
        self._billed += outcome.billed
        lane.failed(self._started, outcome.reason)
        waited = provider.backoff * 2.0 ** min(self._counted - 1, 10)
        self.pause = outcome.after if outcome.after is not None else min(waited, LONGEST_PAUSE)
        if self._counted < provider.attempts and self._billed < MOST_BILLED:
            return None
        if lane.healthy:
            return Ended(status=Status.FAILED, reason=outcome.reason)
        if self._billed >= MOST_BILLED:
            lane.give_up(outcome.reason)
        return None  # the endpoint's fault, as it seems; the lane's patience decides

    def answer(self, key: str, ended: Ended, seconds: float) -> Answer:
        """The answer that this end makes."""
        return ended.answer(self._request, key, self.cost, attempts=self.count, seconds=round(seconds, 4))
