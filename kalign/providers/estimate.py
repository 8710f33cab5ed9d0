"""A dry run: how many calls, tokens and dollars requests would take, without sending any."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from kalign.providers.budget import most
from kalign.providers.counting import prompt_tokens
from kalign.providers.ledger import Ledger
from kalign.providers.request import Request

AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What one model of one provider would be asked. Tokens and cost are bounds, rather too high."""

    provider: str
    model: str
    calls: int = 0
    replayed: int = 0  # already answered in the ledger
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float | None = 0.0  # US dollars; None where no price is known


def estimate(requests: Iterable[Request], ledger: Ledger | None = None) -> list[Estimate]:
    """What `requests` would take, by provider and model; what the ledger answers costs nothing."""
    totals: dict[tuple[str, str], Estimate] = {}
    seen: set[str] = set()
    stream = iter(requests)
    while some := list(islice(stream, AT_ONCE)):
        wanted = {request.key(): request for request in some}
        found = ledger.find(wanted) if ledger else {}
        for key, request in wanted.items():
            if key in seen:
                continue
            seen.add(key)
            name = (request.provider.name, request.provider.model)
            before = totals.get(name, Estimate(provider=name[0], model=name[1]))
            totals[name] = _plus(before, request, replayed=key in found)
    return list(totals.values())


def _plus(total: Estimate, request: Request, *, replayed: bool) -> Estimate:
    known = request.provider.price_in is not None and total.cost is not None
    return Estimate(
        provider=total.provider,
        model=total.model,
        calls=total.calls + (not replayed),
        replayed=total.replayed + replayed,
        tokens_in=total.tokens_in + (0 if replayed else prompt_tokens(request)),
        tokens_out=total.tokens_out + (0 if replayed else request.most_tokens_out),
        cost=(total.cost or 0.0) + (0.0 if replayed else most(request)) if known else None,
    )
