"""Scoring pairs, many at once, without gradients: with the frozen base, or with its adapter."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel

from kalign.training.references.store import Logps, Pair

TOKENS_AT_ONCE = {"cpu": 4096, "cuda": 16384}


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """A model, and how to ask it for the log-probs of pairs.

    Args:
        model: its adapter, if it has one, is put aside while the base is asked.
        collate: from pairs to what the model takes.
        autocast: gives the context of the trainer's precision.
        shared: whether the model runs each prompt once.
    """

    model: Any
    collate: Callable[[list[Any]], dict[str, Any]]
    autocast: Callable[[], AbstractContextManager[Any]]
    shared: bool

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        device: torch.device = next(self.model.parameters()).device
        return device

    def tokens(self, pairs: Sequence[Pair]) -> int:
        """How many tokens a batch of these pairs runs, padding included."""
        if self.shared:
            return sum(sum(map(len, pair.values())) for pair in pairs)
        longest = max(
            len(pair["prompt_ids"]) + max(len(pair["chosen_ids"]), len(pair["rejected_ids"]))
            for pair in pairs
        )
        return 2 * len(pairs) * longest

    def logps(self, pairs: Sequence[Pair], *, adapter: bool = False) -> list[Logps]:
        """The log-probs of pairs that are run at once, under the base alone, or with its adapter."""
        batch = self.collate([dict(pair) for pair in pairs])
        labels = batch["input_ids"].masked_fill(batch.pop("completion_mask") == 0, -100)
        given = {name: value.to(self.device) for name, value in {**batch, "labels": labels}.items()}
        if self.shared:
            given["head_outputs"] = ()
        with torch.no_grad(), self._scoring(adapter), self.autocast():
            rows = self.model(**given, fused_lm_head=True, use_cache=False).log_probs.float().cpu().numpy()
        found = []
        for number, pair in enumerate(pairs):
            first = len(pair["prompt_ids"]) - 1  # of the row of log-probs, which begins with the second token
            chosen = rows[number, first : first + len(pair["chosen_ids"])]
            rejected = rows[len(pairs) + number, first : first + len(pair["rejected_ids"])]
            found.append(Logps(chosen=chosen, rejected=rejected))
        return found

    def batches(self, pairs: Sequence[Pair]) -> list[list[int]]:
        """The places of pairs that are run at once: by length, the longest first, as many as fit a budget of
        tokens."""
        budget = TOKENS_AT_ONCE.get(self.device.type, TOKENS_AT_ONCE["cuda"])
        order = sorted(range(len(pairs)), key=lambda place: -sum(map(len, pairs[place].values())))
        made: list[list[int]] = []
        for place in order:
            if made and self.tokens([pairs[other] for other in (*made[-1], place)]) <= budget:
                made[-1].append(place)
            else:
                made.append([place])
        return made

    @contextmanager
    def _scoring(self, adapter: bool) -> Iterator[None]:
        """Evaluation mode, with the adapter or without; both are put back."""
        training = self.model.training
        self.model.eval()
        try:
            aside = isinstance(self.model, PeftModel) and not adapter
            with self.model.disable_adapter() if aside else nullcontext():
                yield
        finally:
            self.model.train(training)
