"""Filling the store without a training: the base alone, on the device that is here."""

from contextlib import AbstractContextManager
from typing import Any

import torch
from rich.console import Console
from transformers import PreTrainedModel
from trl.trainer.utils import add_fused_lm_head

from kalign import packs
from kalign.config import Recipe
from kalign.data import build
from kalign.errors import ConfigError
from kalign.models import loading, promises
from kalign.models.chat import Chat
from kalign.training import arguments, shared_prefix
from kalign.training.references.fill import fill
from kalign.training.references.scoring import Scorer
from kalign.training.references.store import Store, identity
from kalign.training.shared_prefix import PairCollator


def run(recipe: Recipe, console: Console) -> dict[str, Any]:
    """Score the pairs of a recipe that were not scored before, those held out among them.

    Raises:
        ConfigError: nothing says which weights the recipe's model has.
        KalignError: data or model are not what training could use.
    """
    arguments.calm()
    arguments.require_precision(recipe)
    located = loading.locate(recipe.model)
    chat = promises.load_chat(recipe.model, located)
    pairs = build.build(recipe.data, chat, letters=packs.load(recipe.pack).letters, model=recipe.model)
    build.require_acceptable(pairs, recipe.data)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    base = loading.base_identity(located)
    made_from = identity(recipe, located, base, template_sha256=chat.template_sha256, device=device)
    if made_from is None:
        raise ConfigError(
            f"nothing says which weights {located.name} has, so nothing can be kept for them; download "
            "it and give model.repo=FOLDER"
        )
    store = Store(made_from)
    rows = [pair.columns() for pair in (*pairs.train, *pairs.held_out)]
    model = loading.load_model(recipe.model, located, recipe.adapter.quantization, device=device)
    computed = fill(store, _scorer(recipe, model.to(device), chat, device), rows)
    console.print(f"{computed:,} pairs scored, {len(rows) - computed:,} reused: {store.path}", soft_wrap=True)
    return {"computed": computed, "reused": len(rows) - computed, "path": str(store.path)}


def _scorer(recipe: Recipe, model: PreTrainedModel, chat: Chat, device: torch.device) -> Scorer:
    add_fused_lm_head(model)
    shared = recipe.trainer.shared_prefix and shared_prefix.why_not(model.requires_grad_(False)) is None
    if shared:
        shared_prefix.install(model)
    collator = PairCollator(pad_token_id=int(chat.tokenizer.pad_token_id))

    def autocast() -> AbstractContextManager[Any]:
        return torch.autocast(device.type, torch.bfloat16, enabled=recipe.trainer.bf16)

    def collate(rows: list[Any]) -> dict[str, Any]:
        batch: dict[str, Any] = collator(rows)
        return batch if shared else {name: one for name, one in batch.items() if name != "shared_prefix"}

    return Scorer(model=model, collate=collate, autocast=autocast, shared=shared)
