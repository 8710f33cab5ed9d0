"""Requests that are not sent one by one, but collected and handed over together: to a vendor's batch, or to
the actors of Ray.

Whoever asks goes on as far as it can: what has no answer yet is put aside, and when nothing else is left to
do, everything that was put aside is settled at once. Then the same is done again from the ledger, which now
has the answers.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from kalign.errors import Interrupted
from kalign.providers.engine import Engine
from kalign.providers.provider import Provider
from kalign.providers.request import Request
from kalign.providers.spool import Spool

T = TypeVar("T")
AT_ONCE = 500


class Waiting(Exception):  # noqa: N818, it is no error
    """Some answers are not there yet; their requests were put aside."""


class Transport(Protocol):
    """A way into the ledger for many requests together."""

    def takes(self, provider: Provider) -> bool:
        """Whether requests to this provider go this way; the others are asked by the engine."""

    def settle(self, requests: Spool, engine: Engine) -> int:
        """Bring the answers into the engine's ledger, and return how many came.

        Raises:
            Interrupted: they are on their way, or the user asked to stop; the same command goes on.
            ProviderError: they cannot be had.
        """

    def close(self) -> None:
        """End what it started."""


class Deferred:
    """What is put aside for one transport."""

    def __init__(self, transport: Transport, engine: Engine) -> None:
        self._transport = transport
        self._engine = engine
        self._spool = Spool()

    def require(self, requests: Sequence[Request]) -> None:
        """Return if the ledger has the answer to every request that goes the transport's way; vectors never
        do, and are asked one by one.

        Raises:
            Waiting: it has not, and those that it lacks are put aside.
        """
        lacking = False
        ours = [one for one in requests if not one.embedding and self._transport.takes(one.provider)]
        for start in range(0, len(ours), AT_ONCE):
            keyed = {request.key(): request for request in ours[start : start + AT_ONCE]}
            known = self._engine.ledger.find(keyed)
            for key, request in keyed.items():
                if key not in known:
                    self._engine.require_price(request)
                    self._spool.add(key, request)
                    lacking = True
        if lacking:
            raise Waiting

    def until_settled(self, work: Callable[[], T]) -> T:
        """What `work` returns once nothing of it waits any more; it is done again after each settling.

        Raises:
            Interrupted: answers are on their way, or none came; the same command goes on.
        """
        while True:
            try:
                return work()
            except Waiting:
                open_ones = len(self._spool)
                came = self._transport.settle(self._spool, self._engine)
                self._engine.recount()
                if not came:
                    raise Interrupted(
                        f"none of {open_ones} requests was answered; run the same command again"
                    ) from None
                self._spool = Spool()
