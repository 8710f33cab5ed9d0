"""What an adapter adds to each layer, in float32: LoRA with either scale, and DoRA."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from kalign.errors import ConfigError
from kalign.export.faults import Fault

PREFIX = "base_model.model."
PARTS = {".lora_A.weight": "a", ".lora_B.weight": "b", ".lora_magnitude_vector": "magnitude"}
# Settings of PEFT's that change how an update is made, with the value under which they do nothing
PLAIN: dict[str, Any] = {
    "alpha_pattern": {},
    "rank_pattern": {},
    "modules_to_save": None,
    "trainable_token_indices": None,
    "target_parameters": None,
    "layer_replication": None,
    "bias": "none",
    "lora_bias": False,
    "fan_in_fan_out": False,
    "use_qalora": False,
    "use_bdlora": None,
}
STARTS = (True, False, "gaussian")  # starts that leave the base as it is; pissa and others change it


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """The tensors of an adapter by layer, as the model names it, and the scale of their product."""

    scale: float
    dora: bool
    layers: dict[str, dict[str, Tensor]]

    def merged(self, layer: str, weight: Tensor) -> Tensor:
        """The weight of `layer` with its update, float32."""
        part = self.layers[layer]
        whole = weight.float() + self.scale * (part["b"].float() @ part["a"].float())
        if not self.dora:
            return whole
        norm = torch.linalg.vector_norm(whole, dim=1, keepdim=True)
        merged: Tensor = part["magnitude"].float().reshape(-1, 1) / norm * whole
        return merged


def read(folder: Path) -> Adapter:
    """The adapter in `folder`.

    Raises:
        ConfigError: it is of a kind that cannot be merged exactly; the setting is named.
        IntegrityError: tensors are missing, foreign, or not finite.
    """
    settings: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    if settings["peft_type"] != "LORA":
        raise ConfigError(
            f"the adapter is {settings['peft_type']}, and only LoRA is merged; use format=adapter"
        )
    for key, nothing in PLAIN.items():
        if settings.get(key) not in (nothing, None):
            raise ConfigError(
                f"the adapter has {key}={settings[key]}, which is not merged; use format=adapter"
            )
    if settings.get("init_lora_weights") not in STARTS:
        raise ConfigError(
            f"the adapter started from init_lora_weights={settings['init_lora_weights']}, which changes the "
            "base itself, so a merge into the published one would be wrong; use format=adapter"
        )
    rank, dora = settings["r"], bool(settings.get("use_dora"))
    scale = settings["lora_alpha"] / (math.sqrt(rank) if settings.get("use_rslora") else rank)
    return Adapter(
        scale=scale, dora=dora, layers=_layers(folder, {"a", "b"} | ({"magnitude"} if dora else set()))
    )


def _layers(folder: Path, wanted: set[str]) -> dict[str, dict[str, Tensor]]:
    layers: dict[str, dict[str, Tensor]] = {}
    for name, tensor in load_file(folder / "adapter_model.safetensors").items():
        ending = next((ending for ending in PARTS if name.endswith(ending)), None)
        if ending is None or not name.startswith(PREFIX):
            raise Fault("adapter-damaged", f"the adapter holds {name}, which is no part of a LoRA update")
        if not torch.isfinite(tensor).all():
            raise Fault("not-finite", f"the adapter's {name} holds NaN or infinity; train the run again")
        layers.setdefault(name.removeprefix(PREFIX).removesuffix(ending), {})[PARTS[ending]] = tensor
    for layer, part in layers.items():
        if set(part) != wanted:
            missing = ", ".join(sorted(wanted - set(part))) or "nothing"
            raise Fault("adapter-damaged", f"the adapter's {layer} lacks {missing}; train the run again")
    if not layers or not any(part["b"].any() for part in layers.values()):
        raise Fault("nothing-merged", "the adapter's update is zero everywhere; it has learned nothing")
    return layers
