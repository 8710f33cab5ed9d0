"""Trainers that differ in one thing: whether pairs share their prompt."""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from trl import DPOConfig

from kalign.config.model import PROJECTIONS
from kalign.models import loading, twins
from kalign.training.micro_batches import Plan
from kalign.training.trainer import Epochs, PairTrainer, StepOrder

FAMILIES = ("exaone", "ax", "kanana", "qwen", "gemma", "llama")
PLAIN: dict[str, Any] = {
    "vocab_size": 600,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
}
OTHERS: Mapping[str, dict[str, Any]] = {
    "mistral": {"sliding_window": 8},
    "qwen3": {},
    "qwen2": {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
    "gemma3_text": {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]},
}
LENGTHS = ((1, 1, 1), (1, 9, 3), (2, 5, 17), (21, 24, 1), (40, 12, 30))  # of prompt, chosen and rejected
LANGUAGE = r".*(language_model|layers).*\.(" + "|".join(PROJECTIONS) + ")"


def examples(vocabulary: int = 500) -> list[dict[str, list[int]]]:
    """Pairs of random tokens: a prompt of one token, answers of one token, long ones, in no order."""
    chance = random.Random(3)
    names = ("prompt_ids", "chosen_ids", "rejected_ids")
    return [
        {
            name: [chance.randrange(10, vocabulary) for _ in range(n)]
            for name, n in zip(names, lengths, strict=True)
        }
        for lengths in LENGTHS
    ]


def tokens(rows: list[dict[str, list[int]]]) -> int:
    """What has to be run: the sum of P - 1 + C + R."""
    return sum(sum(map(len, row.values())) - 1 for row in rows)


def model_of(name: str) -> PreTrainedModel:
    """The twin of a family, or a random model of another architecture, in float32."""
    if name in FAMILIES:
        return AutoModelForCausalLM.from_pretrained(
            twins.folder(name), dtype=torch.float32, attn_implementation="sdpa"
        )
    torch.manual_seed(0)
    config = AutoConfig.for_model(name, **PLAIN, **OTHERS[name])
    return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")


def trainer(
    model: PreTrainedModel,
    out: Path,
    *,
    share: bool,
    checkpointing: bool = False,
    data: Dataset | None = None,
    order: StepOrder | None = None,
    plan: Plan | None = None,
    fuse: bool = True,
    **options: Any,
) -> PairTrainer:
    """A trainer whose adapter is not zero, so that policy and reference differ; the same for every call."""
    data = data or Dataset.from_list(examples())
    order = order or StepOrder(len(data), pairs_per_step=4, seed=1)
    settings: dict[str, Any] = {
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "max_length": None,
    }
    torch.manual_seed(0)
    made = PairTrainer(
        model,
        args=DPOConfig(
            output_dir=str(out),
            bf16=False,
            use_cpu=True,
            gradient_checkpointing=checkpointing,
            gradient_checkpointing_kwargs={"use_reentrant": False},
            report_to="none",
            save_strategy="no",
            logging_steps=1,
            disable_tqdm=True,
            **settings | options,
        ),
        train_dataset=data,
        eval_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(loading.BUNDLED / "tiny"),
        peft_config=LoraConfig(r=4, target_modules=LANGUAGE, task_type="CAUSAL_LM"),
        callbacks=[Epochs(order)],
        order=order,
        share_prefix=share,
        plan=plan,
        fuse=fuse,
    )
    torch.manual_seed(1)
    for weight in made.model.parameters():
        if weight.requires_grad:
            weight.data = torch.randn_like(weight) * 0.05
    return made


def logps(made: PairTrainer, rows: list[dict[str, list[int]]]) -> Tensor:
    """The log-prob of every token in TRL's shape, as `compute_loss` asks for them."""
    batch = made.data_collator(rows)
    labels = batch["input_ids"].masked_fill(batch.pop("completion_mask") == 0, -100)
    answer: Tensor = made.model(**batch, labels=labels, fused_lm_head=True, use_cache=False).log_probs
    return answer.detach()


def step(made: PairTrainer, rows: list[dict[str, list[int]]]) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients of a micro-batch."""
    made.model.train().zero_grad()
    loss = made.compute_loss(made.model, made.data_collator(rows))
    loss.backward()
    return loss.item(), {
        name: weight.grad.clone() for name, weight in made.model.named_parameters() if weight.grad is not None
    }


def difference(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> float:
    """How far two sets of tensors are apart, relative to the second one's length."""
    assert ours.keys() == theirs.keys() and ours
    apart = sum(float((ours[name] - theirs[name]).double().square().sum()) for name in theirs)
    return float((apart / sum(float(one.double().square().sum()) for one in theirs.values())) ** 0.5)
