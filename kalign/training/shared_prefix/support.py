"""For which models the row of pairs is known to be exact, and why not for the others."""

from collections.abc import Iterator
from typing import Any

from transformers import PreTrainedModel

# Text architectures whose log-probs and gradients were compared with TRL's own, window for window
COMPARED = ("llama", "exaone", "qwen2", "qwen3", "mistral", "gemma3_text")
LAYERS = ("full_attention", "sliding_attention")
LENGTH_BOUND = ("dynamic", "longrope")  # rotations that change with the longest text of a batch


def why_not(model: PreTrainedModel) -> str | None:
    """Why pairs cannot share their prompt in this model, in a few words; None if they can."""
    config = model.config.get_text_config()
    if config.model_type not in COMPARED or type(model).__module__.startswith("transformers_modules"):
        return f"the architecture {config.model_type} was not compared with TRL's own way"
    if config._attn_implementation != "sdpa":
        return f"model.attn_implementation={config._attn_implementation} has no form for it; sdpa has"
    if unknown := sorted(set(getattr(config, "layer_types", None) or ()) - set(LAYERS)):
        return f"its layers of the kind {unknown[0]} were not compared"
    if getattr(config, "attn_logit_softcapping", None):
        return "its attention caps scores"
    if getattr(config, "use_bidirectional_attention", False):
        return "its attention looks ahead"
    if bound := sorted(set(_rotations(config)) & set(LENGTH_BOUND)):
        return f"its rotary embedding ({bound[0]}) depends on the longest text of a batch"
    if model.get_output_embeddings().weight.requires_grad:
        return "its output embeddings are trained"
    return None


def _rotations(config: Any) -> Iterator[str]:
    """The kinds of rotary embedding: one, or one for each kind of layer."""
    settings = getattr(config, "rope_parameters", None) or {}
    for entry in (settings, *settings.values()):
        if isinstance(entry, dict) and "rope_type" in entry:
            yield entry["rope_type"]
