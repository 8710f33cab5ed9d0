"""Filling a store: what is missing, shared out over the processes, written as it comes."""

from collections.abc import Sequence

import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from tqdm import tqdm

from kalign.training.references.scoring import Scorer
from kalign.training.references.store import Logps, Pair, Store, key_of


def fill(store: Store, scorer: Scorer, pairs: Sequence[Pair]) -> int:
    """Score the pairs that the store lacks; killed in the middle, the next call goes on from there.

    All processes call it, and each scores its share; the first one writes.

    Returns:
        How many pairs were scored.
    """
    ranks = PartialState()
    missing = [_missing(store, pairs) if ranks.is_main_process else []]
    if dist.is_initialized():
        broadcast_object_list(missing, from_process=0)
    wanted = [pairs[place] for place in missing[0]]
    batches = scorer.batches(wanted)
    rounds = range(0, len(batches), ranks.num_processes)
    for start in tqdm(rounds, desc="scoring pairs with the reference", disable=None, leave=False):
        own = batches[start + ranks.process_index : start + ranks.process_index + 1]
        if start + ranks.process_index >= len(batches):
            own = []
        scored: list[tuple[str, Logps]] = []
        for places in own:
            some = [wanted[place] for place in places]
            scored += zip(map(key_of, some), scorer.logps(some), strict=True)
        if dist.is_initialized():
            scored = gather_object(scored)
        if ranks.is_main_process:
            store.add(dict(scored))
    return len(wanted)


def _missing(store: Store, pairs: Sequence[Pair]) -> list[int]:
    """The places of the pairs that the store lacks; of equal pairs, the first."""
    there = store.read({key_of(pair) for pair in pairs}).keys()
    first: dict[str, int] = {}
    for place, pair in enumerate(pairs):
        first.setdefault(key_of(pair), place)
    return [place for key, place in first.items() if key not in there]
