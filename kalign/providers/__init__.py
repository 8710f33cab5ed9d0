"""Models behind an endpoint: typed answers, each paid for once, from any server that speaks OpenAI's
protocol.

    with Engine("ledger.sqlite", budget=20.0) as engine:
        for answer in engine.answers(Request(provider=load("openai"), messages=turns) for turns in all_turns):
            if answer.ok: ...

Nothing heavy is imported before a request is sent.
"""

from kalign.providers.answer import FINAL, Answer, Status, Usage
from kalign.providers.engine import Engine
from kalign.providers.estimate import Estimate, estimate
from kalign.providers.ledger import Ledger
from kalign.providers.provider import Provider, Sampling, load, load_all, shipped
from kalign.providers.request import Request

__all__ = [
    "FINAL",
    "Answer",
    "Engine",
    "Estimate",
    "Ledger",
    "Provider",
    "Request",
    "Sampling",
    "Status",
    "Usage",
    "estimate",
    "load",
    "load_all",
    "shipped",
]
