"""The pairs of one optimizer step, dealt into micro-batches by a budget of tokens.

A step sees the same pairs with a budget as without one, in another order. They are dealt so that all
micro-batches run about equally many tokens, and that at each moment every process has equally many pairs:
TRL gathers its metrics pair by pair. Micro-batches differ in their pairs, so the mean over a step weighs each
by them (`PairTrainer.compute_loss`).

How many micro-batches a step has is fixed for a whole training, because the Trainer counts them: the fewest
with which no step exceeds the budget. Order, lengths, budget and number of processes decide everything, so a
resumed training deals as before.
"""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch.utils.data import Sampler

from kalign.training.order import StepOrder

Dealt = list[list[list[int]]]  # of each micro-batch, of each process: the places of its pairs


def tokens_of(pair: Mapping[str, Sequence[int]]) -> int:
    """How many tokens a pair runs that shares its prompt: P - 1 + C + R."""
    return len(pair["prompt_ids"]) - 1 + len(pair["chosen_ids"]) + len(pair["rejected_ids"])


def dealt(tokens: Sequence[int], *, micro_batches: int, ranks: int) -> Dealt:
    """The places of a step's pairs in each micro-batch on each process, about equally many tokens in each.

    Pairs of like length go to the processes at the same moment; those that run longest are dealt first, each
    time into the micro-batch that has least so far.

    Args:
        tokens: how many each pair runs; as many pairs as fill all processes alike.
    """
    order = sorted(range(len(tokens)), key=lambda place: (-tokens[place], place))
    made: Dealt = [[[] for _ in range(ranks)] for _ in range(micro_batches)]
    loads = [[0] * ranks for _ in range(micro_batches)]
    least = [(0, number) for number in range(micro_batches)]
    for start in range(0, len(order), ranks):
        _, number = heapq.heappop(least)
        free = sorted(range(ranks), key=lambda rank: (loads[number][rank], rank))
        for rank, place in zip(free, order[start : start + ranks], strict=True):
            made[number][rank].append(place)
            loads[number][rank] += tokens[place]
        heapq.heappush(least, (max(loads[number]), number))
    return made


def most(tokens: Sequence[int], deal: Dealt) -> int:
    """Tokens of the largest micro-batch that one process runs."""
    return max(sum(tokens[place] for place in places) for parts in deal for places in parts)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How the steps of a training are dealt."""

    tokens: tuple[int, ...]  # of each pair of the data
    budget: int
    ranks: int
    micro_batches: int  # of each step
    most: int  # tokens of the largest one

    def sentence(self) -> str:
        """One line about it, for a screen."""
        longer = " (one pair alone is longer than the budget)" if self.most > self.budget else ""
        return (
            f"Each step is dealt into {self.micro_batches} micro-batches a process, none of more than "
            f"{self.most:,} tokens{longer}"
        )


def planned(
    pairs: Sequence[Mapping[str, Sequence[int]]], order: StepOrder, *, steps: int, budget: int, ranks: int
) -> Plan:
    """The fewest micro-batches a step with which none of `steps` steps exceeds the budget.

    A pair that is longer than the budget is run alone or with what is no longer than it: it cannot be cut.
    """
    tokens = tuple(map(tokens_of, pairs))
    limit = max(budget, *tokens)
    windows = [[tokens[place] for place in window] for window in _windows(order, steps)]
    micro_batches = max(-(-sum(window) // (limit * ranks)) for window in windows)
    while True:
        deals = (dealt(window, micro_batches=micro_batches, ranks=ranks) for window in windows)
        largest = max(map(most, windows, deals))
        if largest <= limit:
            break
        micro_batches += 1
    return Plan(tokens=tokens, budget=budget, ranks=ranks, micro_batches=micro_batches, most=largest)


def _windows(order: StepOrder, steps: int) -> Iterator[list[int]]:
    """The pairs of the first steps of a training."""
    epoch = 0
    while steps > 0:
        some = order.of(epoch)
        for start in range(0, len(some), order.pairs_per_step)[:steps]:
            yield some[start : start + order.pairs_per_step]
        steps -= len(some) // order.pairs_per_step
        epoch += 1


class MicroBatches(Sampler[list[int]]):
    """The micro-batches that one process runs, step after step.

    Args:
        order: in which the pairs are seen; it knows which epoch begins.
    """

    def __init__(self, plan: Plan, order: StepOrder, *, rank: int) -> None:
        self.plan = plan
        self.order = order
        self.rank = rank

    def __len__(self) -> int:
        return len(self.order) // self.order.pairs_per_step * self.plan.micro_batches

    def __iter__(self) -> Iterator[list[int]]:
        places = list(self.order)
        for start in range(0, len(places), self.order.pairs_per_step):
            window = places[start : start + self.order.pairs_per_step]
            deal = dealt(
                [self.plan.tokens[place] for place in window],
                micro_batches=self.plan.micro_batches,
                ranks=self.plan.ranks,
            )
            for parts in deal:
                yield [window[number] for number in parts[self.rank]]


def weight(pairs: int, plan: Plan, *, pairs_per_step: int) -> float:
    """What a micro-batch's mean counts for, so that the mean over all of them is the mean over the pairs."""
    return pairs * plan.micro_batches * plan.ranks / pairs_per_step
