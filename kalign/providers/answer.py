"""What came of one request: content, or a fault of a named kind, never one taken for the other."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from kalign.providers.request import Request


class Status(StrEnum):
    """Every way a request can end. Only `ok` is content."""

    OK = "ok"
    REFUSED = "refused"  # the model's own refusal, in the field that the protocol has for it
    BLOCKED = "blocked"  # the provider's safety filter
    TRUNCATED = "truncated"  # the limit of tokens cut it
    EMPTY = "empty"  # no choice or no text, again and again
    UNREADABLE = "unreadable"  # text that is no JSON, or breaks the request's schema
    WRONG_MODEL = "wrong_model"  # another model answered than was asked
    INVALID_REQUEST = "invalid_request"  # the provider will not take this request
    FAILED = "failed"  # every attempt failed, while others of the same model succeeded


# What is kept for good; the rest may end otherwise, and is asked again by the next run
FINAL = frozenset(Status) - {Status.FAILED, Status.WRONG_MODEL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one answer, as the provider counted them; 0 where it did not say."""

    tokens_in: int = 0
    tokens_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The end of one request; equal whether it came from the network or from the ledger.

    `text` is what was said even where `status` is no `ok` (the half of a truncated answer, the words of a
    refusal), for a report and never for use.
    """

    request: Request
    key: str
    status: Status
    text: str = ""
    parsed: Any = None  # the object, where the request has a schema and the answer keeps it
    reason: str = ""  # one sentence on the fault; empty when ok
    model: str = ""  # the name that the provider gave in its answer
    finish: str = ""
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None  # US dollars over all attempts; None where no price is known
    attempts: int = 1
    seconds: float = field(default=0.0, compare=False)
    replayed: bool = field(default=False, compare=False)  # it came from the ledger

    @property
    def ok(self) -> bool:
        """Whether there is content to use."""
        return self.status is Status.OK

    @property
    def final(self) -> bool:
        """Whether the ledger keeps it for good, and no later run asks again."""
        return self.status in FINAL
