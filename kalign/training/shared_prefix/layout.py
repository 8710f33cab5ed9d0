"""Where each token of a micro-batch stands in its one row, and where its log-prob belongs in TRL's batch.

For a pair of prompt P, chosen C and rejected R (numbers of tokens), the row holds P - 1 + C + R tokens:

    prompt[:-1] | prompt[-1:] + chosen[:-1] | prompt[-1:] + rejected[:-1]
      prefix            chosen branch               rejected branch

The last token of the prompt stands in both branches, so that every token of a branch predicts exactly one
token of its answer; the last token of an answer predicts nothing and is left out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Parts:
    """How many tokens the three parts of one pair have in the row."""

    prefix: int
    chosen: int
    rejected: int

    @property
    def tokens(self) -> int:
        """All of them."""
        return self.prefix + self.chosen + self.rejected


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A micro-batch of B pairs as one row of S tokens, N of which are scored.

    Attention sees 2B segments: prefix and chosen branch as a text of its own, and the rejected branch, whose
    keys are the prefix and itself. `starts_of_queries` and `starts_of_keys` are where the segments begin,
    with the end of the last, as kernels for texts of various lengths take them.
    """

    ids: Tensor  # (1, S)
    positions: Tensor  # (1, S): each branch goes on where its prompt ends
    scored: Tensor  # (N,): the places in the row that predict a token of an answer
    targets: Tensor  # (N,): the tokens that they predict
    places: Tensor  # (N,): where their log-probs stand in TRL's (2B, T - 1), flattened
    starts_of_queries: Tensor  # (2B + 1,), int32
    starts_of_keys: Tensor  # (2B + 1,), int32
    pairs: tuple[Parts, ...]
    shape: tuple[int, int]  # (2B, T - 1)

    @property
    def most_queries(self) -> int:
        """Tokens of the longest segment."""
        return max(max(pair.prefix + pair.chosen, pair.rejected) for pair in self.pairs)

    @property
    def most_keys(self) -> int:
        """Keys of the segment that has most."""
        return max(pair.prefix + max(pair.chosen, pair.rejected) for pair in self.pairs)

    @property
    def tokens(self) -> int:
        """How many tokens are run: the sum of P - 1 + C + R."""
        return self.ids.shape[1]

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "Layout":
        """The same on a device; Accelerate moves it with the rest of a batch."""
        return self._with(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Layout":
        """The same in memory that a GPU reads directly; a data loader asks for it."""
        return self._with(Tensor.pin_memory)

    def scattered(self, values: Tensor) -> Tensor:
        """The values of the scored tokens, (N,), in TRL's shape (2B, T - 1), with 0 elsewhere."""
        places = torch.unravel_index(self.places, self.shape)
        return values.new_zeros(self.shape).index_put(places, values)  # no view: FSDP2 warns of one

    def _with(self, changed: Callable[[Tensor], Tensor]) -> "Layout":
        tensors: dict[str, Any] = {
            name: changed(value) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **tensors)


def laid_out(
    examples: Sequence[Mapping[str, Any]], *, longest: int, max_length: int | None = None
) -> Layout | None:
    """The row of some pairs; None if one of them has no prompt or no answer to share it with.

    Args:
        examples: `prompt_ids`, `chosen_ids` and `rejected_ids` of each pair.
        longest: T, the length of TRL's padded rows.
        max_length: where TRL cuts the end of longer rows.
    """
    texts = [_cut(example, max_length) for example in examples]
    if not texts or not all(prompt and chosen and rejected for prompt, chosen, rejected in texts):
        return None
    ids: list[int] = []
    positions: list[int] = []
    scored: list[int] = []
    targets: list[int] = []
    places: list[int] = []
    for number, (prompt, chosen, rejected) in enumerate(texts):
        before = len(prompt) - 1
        ids += prompt[:-1]
        positions += range(before)
        for row, answer in ((number, chosen), (len(texts) + number, rejected)):
            first = row * (longest - 1) + before
            scored += range(len(ids), len(ids) + len(answer))
            places += range(first, first + len(answer))
            positions += range(before, before + len(answer))
            targets += answer
            ids += [prompt[-1], *answer[:-1]]
    pairs = tuple(
        Parts(prefix=len(prompt) - 1, chosen=len(chosen), rejected=len(rejected))
        for prompt, chosen, rejected in texts
    )
    queries = [part for pair in pairs for part in (pair.prefix + pair.chosen, pair.rejected)]
    keys = [part for pair in pairs for part in (pair.prefix + pair.chosen, pair.prefix + pair.rejected)]
    return Layout(
        ids=torch.tensor([ids]),
        positions=torch.tensor([positions]),
        scored=torch.tensor(scored),
        targets=torch.tensor(targets),
        places=torch.tensor(places),
        starts_of_queries=torch.tensor([0, *accumulate(queries)], dtype=torch.int32),
        starts_of_keys=torch.tensor([0, *accumulate(keys)], dtype=torch.int32),
        pairs=pairs,
        shape=(2 * len(texts), longest - 1),
    )


def _cut(example: Mapping[str, Any], max_length: int | None) -> tuple[list[int], list[int], list[int]]:
    """Prompt, chosen and rejected as TRL's `keep_start` leaves them."""
    prompt, chosen, rejected = (example[name] for name in ("prompt_ids", "chosen_ids", "rejected_ids"))
    if max_length is not None:
        room = max(0, max_length - len(prompt))
        chosen, rejected = chosen[:room], rejected[:room]
    return prompt, chosen, rejected
