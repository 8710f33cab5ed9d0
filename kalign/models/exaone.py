"""EXAONE 3.5 as a class of transformers' own kind: the vendor's checkpoints load without the vendor's code.

The architecture is Llama's under other names, so the classes are Llama's; names of weights and of settings
are translated while loading and saving. In memory every module has Llama's name (`q_proj`, `down_proj`, ...),
on disk everything has the vendor's.

Source:
    The correspondence of weights: TensorRT-LLM's AutoDeploy model of EXAONE 3.5 (c_fc_0 gate, c_fc_1 up,
    c_proj down), https://github.com/NVIDIA/TensorRT-LLM. The settings: the published config.json.
"""

from typing import Any

from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import WeightRenaming

MODEL_TYPE = "exaone"
# The vendor's name of a weight, and Llama's. Each is one rule: a rule may refer back to one group only.
WEIGHTS = {
    r"^transformer\.wte\.": "model.embed_tokens.",
    r"^transformer\.ln_f\.": "model.norm.",
    r"^transformer\.h\.(\d+)\.ln_1\.": r"model.layers.\1.input_layernorm.",
    r"^transformer\.h\.(\d+)\.ln_2\.": r"model.layers.\1.post_attention_layernorm.",
    r"^transformer\.h\.(\d+)\.attn\.attention\.q_proj\.": r"model.layers.\1.self_attn.q_proj.",
    r"^transformer\.h\.(\d+)\.attn\.attention\.k_proj\.": r"model.layers.\1.self_attn.k_proj.",
    r"^transformer\.h\.(\d+)\.attn\.attention\.v_proj\.": r"model.layers.\1.self_attn.v_proj.",
    r"^transformer\.h\.(\d+)\.attn\.attention\.out_proj\.": r"model.layers.\1.self_attn.o_proj.",
    r"^transformer\.h\.(\d+)\.mlp\.c_fc_0\.": r"model.layers.\1.mlp.gate_proj.",
    r"^transformer\.h\.(\d+)\.mlp\.c_fc_1\.": r"model.layers.\1.mlp.up_proj.",
    r"^transformer\.h\.(\d+)\.mlp\.c_proj\.": r"model.layers.\1.mlp.down_proj.",
}
SETTINGS = {  # the vendor's name of a setting, and Llama's
    "num_layers": "num_hidden_layers",
    "activation_function": "hidden_act",
    "layer_norm_epsilon": "rms_norm_eps",
}
ONLY_LLAMA = ("attention_bias", "mlp_bias", "pretraining_tp", "rope_parameters")


class ExaoneConfig(LlamaConfig):
    """EXAONE 3.5's settings: read under either name, written under the vendor's."""

    model_type = MODEL_TYPE
    attribute_map = SETTINGS

    def to_dict(self) -> dict[str, Any]:
        """The settings by the vendor's names, RoPE in its two older keys."""
        content: dict[str, Any] = super().to_dict()
        for vendor, llama in SETTINGS.items():
            if llama in content:
                content[vendor] = content.pop(llama)
        rope = dict(content.get("rope_parameters") or {})
        for key in ONLY_LLAMA:
            content.pop(key, None)
        content["rope_theta"] = rope.pop("rope_theta", None)
        content["rope_scaling"] = rope if rope.get("rope_type", "default") != "default" else None
        return content


class ExaoneForCausalLM(LlamaForCausalLM):
    """EXAONE 3.5 with its language-model head."""

    config_class = ExaoneConfig


def register() -> None:
    """Let the Auto classes know EXAONE 3.5; calling it again changes nothing."""
    AutoConfig.register(MODEL_TYPE, ExaoneConfig, exist_ok=True)
    AutoModelForCausalLM.register(ExaoneConfig, ExaoneForCausalLM, exist_ok=True)
    renamings = [
        WeightRenaming(source_patterns=vendor, target_patterns=llama) for vendor, llama in WEIGHTS.items()
    ]
    register_checkpoint_conversion_mapping(MODEL_TYPE, renamings, overwrite=True)
