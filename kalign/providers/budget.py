"""The hard cap on what answers may cost: a request starts only if even its dearest answer fits under it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator

from kalign.errors import ConfigError
from kalign.providers.counting import prompt_tokens
from kalign.providers.request import Request

STEP = 1.25  # how far the reserve on disk is ahead


class Budget:
    """US dollars spent and promised, over all runs that wrote into one ledger.

    Args:
        reserve: keeps on disk how much is promised at most: of a killed process nobody else knows it.
    """

    def __init__(
        self, cap: float | None, spent: float, *, reserve: Callable[[float], Awaitable[None]]
    ) -> None:
        if cap is not None and not cap > 0:
            raise ConfigError(f"budget={cap} must be above 0; it is in US dollars")
        self.cap = cap
        self.spent = spent
        self._promised = 0.0
        self._reserve = reserve
        self._reserved = 0.0  # on disk; never less than what is promised
        self._reserving = asyncio.Lock()
        self._changed = asyncio.Event()

    def require_price(self, request: Request) -> None:
        """Refuse a request whose cost nothing bounds.

        Raises:
            ConfigError: there is a cap, and its provider has no price or its sampling no max_tokens.
        """
        if self.cap is None:
            return
        name = f"{request.provider.name}:{request.provider.model}"
        if request.provider.price_in is None:
            raise ConfigError(
                f"budget={self.cap:g} cannot hold {name}, whose price is not known; give price_in and "
                "price_out in a provider file of your own, or leave budget away"
            )
        if request.settings.max_tokens is None and not request.embedding:
            raise ConfigError(
                f"budget={self.cap:g} cannot hold {name} without sampling.max_tokens; set it, or leave "
                "budget away"
            )

    async def promise(self, request: Request) -> float | None:
        """Set aside the most that a request can cost, once there is room; None if there never will be."""
        amount = most(request)
        if self.cap is None:
            return 0.0
        while self.spent + self._promised + amount > self.cap:
            if not self._promised:
                return None
            self._changed.clear()
            await self._changed.wait()
        self._promised += amount
        try:
            await self._keep_reserve()
        except BaseException:
            self.settle(amount, 0.0)
            raise
        return amount

    async def _keep_reserve(self) -> None:
        """Let the disk know before anything is sent; in steps, so that it is told seldom."""
        async with self._reserving:
            if self._promised > self._reserved:
                wanted = self._promised * STEP
                if self.cap is not None:
                    wanted = min(wanted, max(self._promised, self.cap - self.spent))
                await self._reserve(wanted)
                self._reserved = wanted

    def settle(self, promised: float, cost: float) -> None:
        """Replace a promise by what was really paid."""
        self._promised = max(0.0, self._promised - promised)
        if self._promised < 1e-12:  # what adding and subtracting floats leaves behind
            self._promised = 0.0
        self.spent += cost
        self._changed.set()


def most(request: Request) -> float:
    """US dollars that one attempt can cost at most, rather too many; 0 where no price is known."""
    return request.provider.cost(prompt_tokens(request), request.most_tokens_out) or 0.0


def within(left: float | None, requests: Iterable[Request], *, share: float = 1.0) -> Iterator[Request]:
    """The requests whose dearest answers, at a share of the price, cost no more US dollars than are left."""
    for request in requests:
        if left is not None:
            left -= share * most(request)
            if left < 0:
                return
        yield request
