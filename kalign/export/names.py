"""Which tensor on disk each adapted layer is, by the renaming with which transformers loads the model."""

import re
from pathlib import Path

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightRenaming, rename_source_key
from transformers.quantizers.base import get_keys_to_not_convert

from kalign.export import shards
from kalign.models import exaone


def shell(folder: Path) -> PreTrainedModel:
    """The model's class without weights."""
    config = AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return model


def by_layer(folder: Path, model: PreTrainedModel) -> dict[str, str]:
    """The tensor on disk by the path in `model` of the weight that it becomes.

    Tensors that several ones are made into one of (experts) are left out: no adapter sits on those.
    """
    conversions = get_model_conversion_mapping(model)
    renamings = [one for one in conversions if isinstance(one, WeightRenaming)]
    converters = [one for one in conversions if not isinstance(one, WeightRenaming)]
    known = model.state_dict()
    found = {}
    for name in shards.shapes(folder):
        renamed, converter = rename_source_key(name, renamings, converters, model.base_model_prefix, known)
        if converter is None and renamed in known:
            found[renamed] = name
    return found


def quantised(model: PreTrainedModel) -> set[str]:
    """The paths of the language model's weights that bitsandbytes holds in 4 bits when it is loaded so.

    Those of a vision tower are left out: text never reached them, so they stay what they were.
    """
    reached = set(model.get_decoder().modules())
    kept = {name.removesuffix(".weight") for name in get_keys_to_not_convert(model)}
    return {
        f"{path}.weight"
        for path, module in model.named_modules()
        if type(module) is nn.Linear and module in reached and not any(_within(path, name) for name in kept)
    }


def _within(path: str, name: str) -> bool:
    return path == name or path.startswith(f"{name}.") or path.endswith(f".{name}")


def as_llama(name: str) -> str:
    """Llama's name of a tensor that the vendor of EXAONE named."""
    for vendor, llama in exaone.WEIGHTS.items():
        renamed, times = re.subn(vendor, llama, name)
        if times:
            return renamed
    return name
