"""What the systems hand each other: frozen records that refuse to exist wrongly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

ROLES = ("system", "user", "assistant")


class UnusableTriplet(ValueError):
    """A triplet from which nothing can be learned; `reason` is its name in the ledger."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation.

    Raises:
        ValueError: the role is unknown, or the content is no text.
    """

    role: str
    content: str

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f"a message's role is {self.role!r}; use one of {', '.join(ROLES)}")
        if not isinstance(self.content, str):  # annotations are not checked at run time
            raise ValueError(f"a {self.role} message's content is {type(self.content).__name__}, not text")


@dataclass(frozen=True, slots=True, kw_only=True)
class Triplet:
    """After `prompt`, the answer `chosen` is better than the answer `rejected`.

    An answer is usually one assistant turn; it may be longer, but must end with the assistant. Without
    turns in `rejected`, there is one answer to learn, and no worse one.

    Raises:
        ValueError: the turns cannot be such a triplet.
        UnusableTriplet: they can, but a text is empty or the two answers are the same.
    """

    id: str
    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]

    def __post_init__(self) -> None:
        answers = {"chosen": self.chosen} | ({"rejected": self.rejected} if self.rejected else {})
        for name, answer in answers.items():
            if not answer or answer[-1].role != "assistant":
                raise ValueError(f"{name} must end with an assistant turn")
            if not answer[-1].content.strip():
                raise UnusableTriplet(f"empty_{name}", f"{name} is empty")
        if not self.prompt or self.prompt[-1].role == "assistant":
            raise ValueError("the prompt must end before the assistant answers")
        if not self.prompt[-1].content.strip():
            raise UnusableTriplet("empty_prompt", "the prompt is empty")
        if text(self.chosen) == text(self.rejected):
            raise UnusableTriplet("identical", "chosen and rejected are the same text")


@dataclass(frozen=True, slots=True, kw_only=True)
class Institution:
    """An office or telephone line; what it is called holds from `valid_from` to the day before `valid_to`."""

    id: str
    name: str
    aliases: tuple[str, ...]
    former_names: tuple[str, ...]  # until the day before valid_from
    phone: str | None
    former_phones: tuple[str, ...]
    purpose: str
    valid_from: date | None  # None: since long, or not known
    valid_to: date | None  # the first day without it
    replaced_by: tuple[str, ...]  # ids
    source: str
    verified_on: date | None  # None: never
    confirmed: bool

    def exists(self, on: date) -> bool:
        """Whether it is there on that day, under the names it has now."""
        return (self.valid_from is None or self.valid_from <= on) and (
            self.valid_to is None or on < self.valid_to
        )

    def offered(self, on: date) -> bool:
        """Whether an answer given on that day may name it."""
        return self.confirmed and self.exists(on)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a model answered; `whole` is False where it was cut off at the limit."""

    text: str
    tokens: int
    whole: bool


class VoteKind(StrEnum):
    """What came of asking a judge. Only a valid vote says anything about what was judged."""

    VALID = "valid"
    BLOCKED = "blocked"  # by the provider's safety filter
    REFUSED = "refused"  # by the judge itself
    TRUNCATED = "truncated"
    UNREADABLE = "unreadable"  # no JSON, a verdict outside the set, or a wrong nonce
    MISSING = "missing"  # the judge did not answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """What one judge says of one item: a verdict for each question, if the vote is valid.

    Raises:
        ValueError: a valid vote has no verdicts, or another one has some.
    """

    judge: str
    kind: VoteKind
    verdicts: Mapping[str, str | int] = field(default_factory=dict)  # by question
    reason: str = ""  # why it is not valid; never the judge's own words
    key: str = ""  # of the answer in the ledger

    def __post_init__(self) -> None:
        if self.valid != bool(self.verdicts):
            raise ValueError(f"a vote that is {self.kind} has {len(self.verdicts)} verdicts")

    @property
    def valid(self) -> bool:
        """Whether it says anything about what was judged."""
        return self.kind is VoteKind.VALID


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a generated text comes from: who was asked what, under which key the ledger has it, its cost."""

    model: str  # provider and model
    prompt_sha256: str  # of the instructions that the model was given
    key: str  # of the answer in the ledger
    cost: float | None = None  # US dollars; None where no price is known


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A harmful-intent request of one type of the taxonomy; `dropped` says why nothing is made of it."""

    id: str
    category: str
    type: str  # with its category, such as A.harassment
    prompt: str
    template: str = ""
    masked: tuple[str, ...] = ()  # kinds of personal data that were taken out
    origin: Origin | None = None
    dropped: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One attempt to make the target answer unsafely: what came of it, without its words."""

    strategy: str
    sample: int
    outcome: str  # success, resisted, or the name of what failed
    score: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """A seed in other words, and the target's answer to it, which becomes the rejected one."""

    id: str
    category: str
    type: str
    prompt: str
    answer: str
    seed: str = ""  # the seed's own words
    strategy: str = ""
    score: int | None = None  # 1 to 5; how far the answer complies
    target: str = ""  # the model that answered, as licences know it
    tries: tuple[Try, ...] = ()
    masked: tuple[str, ...] = ()
    seed_origin: Origin | None = None
    prompt_origin: Origin | None = None
    answer_origin: Origin | None = None
    dropped: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One answer that might become the chosen one, and how it was judged."""

    answer: str
    safety: int | None = None  # 1 to 5
    coherence: int | None = None  # 1 to 5
    origin: Origin | None = None
    masked: tuple[str, ...] = ()
    dropped: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An attack with the candidates for its chosen answer, and the one that won.

    Raises:
        ValueError: the winner is none of the candidates.
    """

    id: str
    attack: Attack
    chosen: str = ""
    query: int | None = None  # 1 to 4; how natural the prompt is
    winner: int | None = None  # which candidate
    candidates: tuple[Candidate, ...] = ()
    dropped: str = ""

    def __post_init__(self) -> None:
        if self.winner is not None and not 0 <= self.winner < len(self.candidates):
            raise ValueError(
                f"winner {self.winner} is none of {len(self.candidates)} candidates, which are counted from 0"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A response with the votes of the panel, the decision on each criterion, and its wrong citations."""

    id: str
    response: Response
    votes: tuple[Vote, ...] = ()
    decisions: Mapping[str, str] = field(default_factory=dict)  # by criterion: yes, no or undecided
    citations: tuple[str, ...] = ()  # those of the chosen answer that do not hold
    dropped: str = ""


def text(turns: Sequence[Message]) -> str:
    """The words of `turns`, one turn a line, without white space at their ends: for comparison, not for a
    model."""
    return "\n".join(turn.content.strip() for turn in turns)
