"""A model that answers, with an adapter on it or without: greedy texts, and log-likelihoods."""

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import nn
from tqdm import tqdm

from kalign.config import Model, Quantization, Recipe
from kalign.models import answers
from kalign.records import Message

Conversation = tuple[Message, ...]


class Speaks(Protocol):
    """Anything that can be asked."""

    def answers(self, conversations: Sequence[Conversation]) -> list[str]:
        """What it says to each conversation, in order."""

    def logprobs(self, conversations: Sequence[Conversation], replies: Sequence[str]) -> list[float]:
        """The log-probability of each reply after its conversation, summed over its tokens, in nats."""


class Speaker:
    """A model, with the adapter in a folder if one is given.

    Args:
        batch: conversations answered at once; only equally long ones are, so that no padding touches them.
        max_new_tokens: the longest answer.

    Raises:
        KalignError: the model or the adapter cannot be loaded.
    """

    def __init__(
        self,
        model: Model,
        quantization: Quantization,
        adapter: Path | None = None,
        *,
        batch: int,
        max_new_tokens: int,
    ) -> None:
        self.chat, self.model = answers.ready(model, quantization, adapter)
        self.device = next(self.model.parameters()).device
        self.batch = batch
        self.max_new_tokens = max_new_tokens

    def answers(self, conversations: Sequence[Conversation]) -> list[str]:
        """What it says to each conversation, greedily, in order."""
        prompts = [self.chat.prompt_ids(conversation) for conversation in conversations]
        said: dict[int, str] = {}
        groups = list(answers.equally_long(prompts, self.batch))
        with torch.no_grad():
            for places in tqdm(groups, desc="answering", leave=False):
                told = answers.greedy(
                    self.model,
                    [prompts[place] for place in places],
                    self.chat.tokenizer,
                    turn_end=self.chat.turn_end_id,
                    max_new_tokens=self.max_new_tokens,
                )
                said |= {place: one.text for place, one in zip(places, told, strict=True)}
        return [said[place] for place in range(len(prompts))]

    def logprobs(self, conversations: Sequence[Conversation], replies: Sequence[str]) -> list[float]:
        """The log-probability of each reply with its turn end, in nats."""
        rows = [
            self.chat.exchange_ids(conversation, (Message(role="assistant", content=reply),))
            for conversation, reply in zip(conversations, replies, strict=True)
        ]
        found: list[float] = []
        with torch.no_grad():
            for start in tqdm(range(0, len(rows), self.batch), desc="scoring", leave=False):
                found += self._scored(rows[start : start + self.batch])
        return found

    def _scored(self, rows: Sequence[tuple[list[int], list[int]]]) -> list[float]:
        longest = max(len(prompt) + len(reply) for prompt, reply in rows)
        ids_BL = torch.full((len(rows), longest), int(self.chat.tokenizer.pad_token_id))
        mask_BL = torch.zeros((len(rows), longest), dtype=torch.long)
        for row, (prompt, reply) in enumerate(rows):
            ids_BL[row, : len(prompt) + len(reply)] = torch.tensor(prompt + reply)
            mask_BL[row, : len(prompt) + len(reply)] = 1
        ids_BL, mask_BL = ids_BL.to(self.device), mask_BL.to(self.device)
        logits_BLV = self.model(input_ids=ids_BL, attention_mask=mask_BL, use_cache=False).logits
        found = []
        for row, (prompt, reply) in enumerate(rows):
            places = slice(len(prompt) - 1, len(prompt) + len(reply) - 1)
            logps_TV = logits_BLV[row, places].float().log_softmax(-1)
            told_T = torch.tensor(reply, device=self.device)
            found.append(float(logps_TV.gather(1, told_T[:, None]).sum()))
        return found


def of_recipe(recipe: Recipe, adapter: Path | None = None) -> Speaker:
    """The model of a recipe, asked as the recipe says."""
    return Speaker(
        recipe.model,
        recipe.adapter.quantization,
        adapter,
        batch=recipe.trainer.per_device_eval_batch_size,
        max_new_tokens=recipe.evaluation.max_new_tokens,
    )


def merge(recipe: Recipe, adapter: Path, out: Path) -> None:
    """Write the recipe's base with an adapter added to its weights, for a stage that goes on from there."""
    speaker = of_recipe(recipe, adapter)
    merged: nn.Module = speaker.model.merge_and_unload()
    merged.save_pretrained(out)  # type: ignore[operator]  # PEFT gives back transformers' model
    speaker.chat.tokenizer.save_pretrained(out)


def free() -> None:
    """Give back the memory of models that nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
