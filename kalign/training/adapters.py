"""The adapter of a text model: what PEFT is told, where it may sit, what its layers take as they get it."""

from typing import Any

from peft import LoraConfig, PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer

from kalign.config import Recipe
from kalign.errors import ConfigError


def config(recipe: Recipe) -> LoraConfig:
    """The adapter that a recipe asks for, as PEFT takes it."""
    return LoraConfig(**recipe.adapter.lora(), bias="none", task_type="CAUSAL_LM")


def require_language_only(model: PeftModel, target_modules: Any) -> None:
    """Refuse an adapter on layers that text never reaches, such as those of a vision tower.

    Args:
        target_modules: what the recipe asked for, to be repeated in the message.

    Raises:
        ConfigError: there is one; its first layer is named.
    """
    base = model.get_base_model()
    reached = set(base.get_decoder().modules())
    beside = [
        name
        for name, module in base.named_modules()
        if isinstance(module, BaseTunerLayer) and module not in reached
    ]
    if beside:
        raise ConfigError(
            f"adapter.target_modules={target_modules} also takes in {beside[0]}, which text never reaches "
            f"({len(beside)} such layers); leave model.target_modules as its model has it, or give a regex"
        )


def leave_inputs_alone(model: PeftModel) -> None:
    """Keep the adapter's layers from turning their inputs into float32, for a model that always runs under
    autocast.

    Autocast turns them back at once, so the forward pass is the same bit for bit (where dropout acts, it
    draws another mask); what goes is a float32 copy of every input.
    """
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.cast_input_dtype_enabled = False
