"""Examples of a task: a conversation, the answer that is learned, and what one is judged by."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kalign.data.build import Pairs
from kalign.data.pairs import Pair
from kalign.records import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One thing to answer.

    Args:
        group: what keeps examples together in a split, such as a cue.
        answer: what supervised fine-tuning teaches; None where only a reward says what is good.
        gold: what a reward or a metric compares an answer with.
        pair: where prompt and answer were tokenised with the pairs they come from.
    """

    id: str
    group: str
    prompt: tuple[Message, ...]
    answer: str | None = None
    gold: Mapping[str, Any] = field(default_factory=dict)
    pair: Pair | None = None


Reward = Callable[[Example, str], float]  # what an answer to an example is worth
Score = Callable[[Example, str], Mapping[str, float]]  # what is measured of an answer, by name


@dataclass(frozen=True, kw_only=True)
class Examples:
    """What is trained on and what is held out, with the account of where it came from.

    Args:
        reward: None where answers are only learned.
        pairs: what the examples were made of, with the ledger of every row; None where they were not pairs.
    """

    train: Sequence[Example]
    held_out: Sequence[Example]
    identity: Mapping[str, Any]  # what the run notes of its data
    facts: Mapping[str, int]
    notice: str  # the licence of the data, in a sentence
    score: Score
    reward: Reward | None = None
    reward_range: tuple[float, float] = (0.0, 1.0)
    pairs: Pairs | None = None
