"""How the bundled models, which kalign made itself, speak and are written."""

from pathlib import Path

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast

TEMPLATE = (
    "<bos>{% for message in messages %}{{ '<' + message['role'] + '>' + message['content'] + '<end>' }}{% "
    "endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
)


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, out: Path) -> int:
    """Write a model in bfloat16 with its tokenizer to a folder, and return how many weights it has."""
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    return sum(weight.numel() for weight in model.parameters())
