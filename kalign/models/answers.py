"""What a model answers, greedily, and exactly the same however often it is asked."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from kalign.config import Model, Quantization
from kalign.models import loading, promises
from kalign.models.chat import Chat
from kalign.records import Said


def ready(model: Model, quantization: Quantization, adapter: Path | None) -> tuple[Chat, Any]:
    """A model on the device that is here, with the adapter in a folder if one is given, and its chat.

    Raises:
        KalignError: it cannot be loaded.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    located = loading.locate(model)
    chat = promises.load_chat(model, located)
    loaded: Any = loading.load_model(model, located, quantization, device=device)
    if adapter is not None:
        loaded = PeftModel.from_pretrained(loaded, adapter)
    return chat, loaded.eval() if quantization.load_in_4bit else loaded.to(device).eval()


def equally_long(prompts: Sequence[list[int]], batch: int) -> Iterator[list[int]]:
    """The places of the prompts, grouped by length, at most `batch` in a group: no padding touches an answer.

    >>> list(equally_long([[1], [2, 3], [4], [5]], batch=2))
    [[0, 2], [3], [1]]
    """
    by_length: dict[int, list[int]] = {}
    for place, prompt in enumerate(prompts):
        by_length.setdefault(len(prompt), []).append(place)
    for _, places in sorted(by_length.items()):
        for start in range(0, len(places), batch):
            yield places[start : start + batch]


def greedy(
    model: Any,
    prompts: Sequence[list[int]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    turn_end: int,
    max_new_tokens: int,
    together: bool = False,
) -> list[Said]:
    """The model's likeliest answers to equally long prompts, in order; without gradients is the caller's
    affair.

    Args:
        together: all processes answer the same with a divided model, and none stops before the others.
    """
    ids = torch.tensor(prompts, device=next(model.parameters()).device)
    out = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=max_new_tokens,
        do_sample=False,
        use_cache=True,
        eos_token_id=turn_end,
        pad_token_id=tokenizer.pad_token_id,
        synced_gpus=together,
    )[:, ids.shape[1] :]
    texts = tokenizer.batch_decode(out, skip_special_tokens=True)
    said = []
    for row, text in zip(out.tolist(), texts, strict=True):
        whole = turn_end in row
        said.append(
            Said(text=text.strip(), tokens=row.index(turn_end) + 1 if whole else len(row), whole=whole)
        )
    return said
