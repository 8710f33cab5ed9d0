"""What a reply can mean: the end of its request, a failure that may pass, or that nothing can succeed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kalign.errors import ProviderError
from kalign.providers.answer import Answer, Status, Usage
from kalign.providers.provider import Provider
from kalign.providers.request import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back over the wire, whole."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The request has its answer."""

    status: Status
    text: str = ""
    parsed: Any = None
    reason: str = ""
    model: str = ""
    finish: str = ""
    usage: Usage = field(default_factory=Usage)

    def answer(self, request: Request, key: str, cost: float | None, **took: Any) -> Answer:
        """The answer that this end makes.

        Args:
            took: how many `attempts` and `seconds`, where that is known.
        """
        return Answer(
            request=request,
            key=key,
            status=self.status,
            text=self.text,
            parsed=self.parsed,
            reason=self.reason,
            model=self.model,
            finish=self.finish,
            usage=self.usage,
            cost=cost,
            **took,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """It failed in a way that may pass.

    `limited`: the server asks for patience; `after`: seconds that it names; `billed`: it answered, so that
    asking again costs again; `unsure`: it may have, and only the answer was lost.
    """

    reason: str
    limited: bool = False
    after: float | None = None
    billed: bool = False
    unsure: bool = False
    usage: Usage = field(default_factory=Usage)
    empty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """No request to this provider can succeed until somebody mends its key, quota or name."""

    reason: str


Outcome = Ended | Again | Refused


def wrong_model(provider: Provider, said: Ended | Answer) -> ProviderError:
    """That another model answered than was asked, as the end of the run."""
    return ProviderError(
        f"provider {provider.name}: {said.reason}; name {said.model} in its file, or set other_model to "
        "accept or mark there"
    )
