"""What a model consists of, counted on torch's meta device: no weight is read, and none takes memory."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bitsandbytes
import torch
from huggingface_hub import try_to_load_from_cache
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.integrations.bitsandbytes import replace_with_bnb_linear
from transformers.quantizers.base import get_keys_to_not_convert

from kalign.errors import ConfigError, DataError
from kalign.models import heads
from kalign.models.loading import Located

SIZES = Path(__file__).parent / "sizes"


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """One weight of a linear layer."""

    inputs: int
    outputs: int

    @property
    def weights(self) -> int:
        """How many numbers it holds."""
        return self.inputs * self.outputs


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What of a model decides memory and time. Weights that are tied count once."""

    model_class: str
    known_from: str
    parameters: int  # all of them
    quantisable: tuple[Matrix, ...]  # what bitsandbytes keeps in 4 bits; the rest stays as it is
    body: int  # weights of the decoder's matrix products, without the output embeddings
    layers: int
    hidden: int
    query: int  # heads x head_dim
    key_value: int  # key heads x head_dim
    intermediate: int
    normalised: int  # inputs of all norms of one layer, added up
    vocabulary: int

    @property
    def kept(self) -> int:
        """Weights that are never quantised: embeddings, output embeddings, norms, biases."""
        return self.parameters - sum(matrix.weights for matrix in self.quantisable)


@dataclass(frozen=True, kw_only=True)
class Adapted:
    """What an adapter adds to a shape."""

    trainable: int
    matrices: tuple[Matrix, ...]  # the layers that carry an adapter


def configuration(located: Located) -> tuple[PreTrainedConfig, str]:
    """The architecture of a model, and where it is known from: its own config.json where that is on this
    machine, else kalign's table of sizes.

    Raises:
        ConfigError: neither is there.
        DataError: its config.json cannot be read.
    """
    heads.allow_own_width()
    own = located.folder / "config.json" if located.folder else _cached(located)
    if own is not None:
        try:
            config = AutoConfig.from_pretrained(own.parent, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as wrong:
            raise DataError(f"{own} describes no model: {' '.join(str(wrong).split())[:300]}") from wrong
        return config, f"config.json of {located.name}"
    for path in sorted(SIZES.glob("*.json")):
        noted = json.loads(path.read_text(encoding="utf-8"))
        if noted["repo"] == located.name:
            return of_size(noted), f"kalign's table of sizes ({noted['confidence']})"
    raise ConfigError(
        f"model.repo={located.name} is not on this machine and not in kalign's table of sizes; download its "
        "config.json into a folder and give model.repo=FOLDER"
    )


def of_size(noted: dict[str, Any]) -> PreTrainedConfig:
    """The configuration that an entry of the table of sizes holds."""
    heads.allow_own_width()
    return AutoConfig.for_model(**noted["config"])


def on_meta(config: PreTrainedConfig) -> PreTrainedModel:
    """The model without its weights."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def counted(config: PreTrainedConfig, known_from: str) -> Shape:
    """Count a model's weights and widths."""
    model = on_meta(config)
    decoder, text = model.get_decoder(), config.get_text_config()
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    query, key_value = head_dim * text.num_attention_heads, head_dim * text.num_key_value_heads
    body = sum(part.weight.numel() for part in decoder.modules() if type(part) is nn.Linear)
    widths = {"q_norm": query, "k_norm": key_value}
    normalised = sum(
        widths.get(name.rsplit(".", 1)[-1], part.weight.numel())
        for name, part in decoder.layers[0].named_modules()
        if type(part).__name__.endswith("RMSNorm")
    )
    parameters = sum(weight.numel() for weight in model.parameters())
    return Shape(
        model_class=type(model).__name__,
        known_from=known_from,
        parameters=parameters,
        quantisable=_quantisable(model),
        body=body,
        layers=len(decoder.layers),
        hidden=text.hidden_size,
        query=query,
        key_value=key_value,
        intermediate=text.intermediate_size,
        normalised=normalised,
        vocabulary=model.get_output_embeddings().weight.shape[0],
    )


def adapted(config: PreTrainedConfig, lora: dict[str, Any]) -> Adapted:
    """Count what an adapter trains, by letting PEFT put it onto the model.

    Raises:
        ConfigError: it finds no layer of those names.
    """
    model = on_meta(config)
    try:
        with_adapter = get_peft_model(model, LoraConfig(**lora, bias="none", task_type="CAUSAL_LM"))
    except ValueError as wrong:
        raise ConfigError(
            f"adapter.target_modules={lora['target_modules']} names no layer of {type(model).__name__}; name "
            "the projections its class has"
        ) from wrong
    layers = [part for part in with_adapter.modules() if hasattr(part, "lora_A")]
    return Adapted(
        trainable=sum(weight.numel() for weight in with_adapter.parameters() if weight.requires_grad),
        matrices=tuple(
            Matrix(inputs=layer.in_features, outputs=layer.out_features)
            for layer in layers
            if hasattr(layer, "in_features")
        ),
    )


def stored_4bit_bytes(weights: int, *, double_quant: bool) -> int:
    """Bytes of one matrix as bitsandbytes stores it in 4 bits: two weights a byte, a scale for each 64, and
    the code book; with double quantisation the scales take a byte each, and one float for each 256 of them.

    >>> stored_4bit_bytes(4096 * 4096, double_quant=False)
    9437248
    >>> stored_4bit_bytes(4096 * 4096, double_quant=True)
    8655940

    Source:
        bitsandbytes 0.50, functional.quantize_4bit and QuantState.
    """
    blocks = math.ceil(weights / 64)
    packed, codes = math.ceil(weights / 2), 16 * 4
    if not double_quant:
        return packed + codes + blocks * 4
    return packed + codes + blocks + math.ceil(blocks / 256) * 4 + 256 * 4 + 4


def _quantisable(model: PreTrainedModel) -> tuple[Matrix, ...]:
    """What loading in 4 bits would replace, by letting transformers replace it."""
    replace_with_bnb_linear(model, get_keys_to_not_convert(model), BitsAndBytesConfig(load_in_4bit=True))
    return tuple(
        Matrix(inputs=part.in_features, outputs=part.out_features)
        for part in model.modules()
        if isinstance(part, bitsandbytes.nn.Linear4bit)
    )


def _cached(located: Located) -> Path | None:
    """The config.json of a Hub model that was downloaded before."""
    found = try_to_load_from_cache(located.name, "config.json", revision=located.revision)
    return Path(found) if isinstance(found, str) else None
