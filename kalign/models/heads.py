"""Llama-shaped models whose heads are wider than hidden_size / num_attention_heads, which transformers
refuses."""

from transformers import LlamaConfig

CHECK = "validate_architecture"


def allow_own_width() -> None:
    """Let a Llama configuration say its own `head_dim`, as Kanana-1.5-2.1B does (24 heads of 128 on 1792).

    transformers 5 computes with such a head, but refuses the configuration
    (https://github.com/huggingface/transformers/issues/46082); goes when it accepts it. Calling this again
    changes nothing.
    """
    kept = [check for check in LlamaConfig.__class_validators__ if check.__name__ != CHECK]
    LlamaConfig.__class_validators__ = [*kept, validate_architecture]


def validate_architecture(config: LlamaConfig) -> None:
    """Refuse a width of heads that was derived and does not divide.

    Raises:
        ValueError: it does not.
    """
    derived = config.head_dim == config.hidden_size // config.num_attention_heads
    if derived and config.hidden_size % config.num_attention_heads:
        raise ValueError(
            f"hidden_size={config.hidden_size} is no multiple of num_attention_heads="
            f"{config.num_attention_heads}, and there is no head_dim"
        )
