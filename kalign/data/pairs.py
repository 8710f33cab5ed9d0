"""A pair as a trainer takes it: the ids of one triplet, and what makes them."""

from dataclasses import dataclass
from typing import Protocol

from kalign.records import Triplet


class Tokens(Protocol):
    """The ids of one triplet."""

    @property
    def prompt(self) -> list[int]:
        """What the model reads before it answers."""

    @property
    def chosen(self) -> list[int]:
        """The better answer, up to its turn end."""

    @property
    def rejected(self) -> list[int]:
        """The worse answer, up to its turn end."""

    @property
    def control_tokens(self) -> int:
        """How often the texts spell a control token."""


class Tokenises(Protocol):
    """Anything that turns a triplet into ids, as a model's chat template does."""

    def tokens(self, triplet: Triplet) -> Tokens:
        """The ids, or UnusableTriplet where they cannot be exact."""


@dataclass(slots=True, kw_only=True)
class Pair:
    """One triplet, ready to train on."""

    triplet: Triplet
    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]

    def columns(self) -> dict[str, list[int]]:
        """The columns that TRL reads."""
        return {
            "prompt_ids": self.prompt_ids,
            "chosen_ids": self.chosen_ids,
            "rejected_ids": self.rejected_ids,
        }
