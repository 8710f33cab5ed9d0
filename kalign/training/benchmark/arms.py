"""The ways to train that are timed: TRL's, kalign's, and kalign's with one feature off."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import DPOConfig
from trl.trainer.dpo_trainer import DataCollatorForPreference

from kalign.config.model import PROJECTIONS
from kalign.training.benchmark.workloads import Workload
from kalign.training.trainer import PairTrainer, StepOrder


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to train."""

    about: str
    shared: bool  # each prompt once, without padding
    head: bool  # kalign's head
    stored: bool  # the reference is known before
    checkpointing: bool = False  # on a GPU only
    dtype: str = "bfloat16"  # of the frozen weights, on a GPU only


ARMS: Mapping[str, Arm] = {
    "trl_defaults": Arm(
        about="TRL's own way, its reference asked in every step",
        shared=False,
        head=False,
        stored=False,
        checkpointing=True,
        dtype="float32",
    ),
    "trl_precomputed": Arm(
        about="TRL's own way, its reference precomputed", shared=False, head=False, stored=True
    ),
    "kalign": Arm(about="kalign with all of it", shared=True, head=True, stored=True),
    "kalign_without_store": Arm(
        about="kalign, the reference asked in every step", shared=True, head=True, stored=False
    ),
    "kalign_without_shared_prefix": Arm(
        about="kalign, prompts run twice and rows padded", shared=False, head=True, stored=True
    ),
}


def build(arm: Arm, workload: Workload, *, device: torch.device) -> PairTrainer:
    """The trainer of an arm; weights and adapter are the same for every arm, and the adapter is not zero."""
    cuda = device.type == "cuda"
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, arm.dtype) if cuda else torch.float32)
    try:
        with device:
            model = LlamaForCausalLM(LlamaConfig(**workload.settings(), attn_implementation="sdpa"))
    finally:
        torch.set_default_dtype(before)
    rows = workload.batches()[0]
    trainer = PairTrainer(
        model,
        args=DPOConfig(
            output_dir=tempfile.gettempdir(),
            per_device_train_batch_size=workload.pairs,
            bf16=cuda,
            use_cpu=not cuda,
            gradient_checkpointing=arm.checkpointing and cuda,
            gradient_checkpointing_kwargs={"use_reentrant": False},
            max_length=None,
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=_no_words(),
        peft_config=LoraConfig(r=16, target_modules=list(PROJECTIONS), task_type="CAUSAL_LM"),
        order=StepOrder(len(rows), pairs_per_step=len(rows), seed=0),
        share_prefix=arm.head,
    )
    if arm.head and not arm.shared:
        trainer.data_collator = DataCollatorForPreference(pad_token_id=trainer.data_collator.pad_token_id)
    generator = torch.Generator().manual_seed(1)
    for weight in trainer.model.parameters():
        if weight.requires_grad:
            drawn = torch.randn(weight.shape, generator=generator) * 0.01
            weight.data = drawn.to(weight.device, weight.dtype)
    trainer.precompute_ref_logps = arm.stored
    trainer.create_optimizer()
    return trainer


def batches(arm: Arm, trainer: PairTrainer, workload: Workload) -> list[dict[str, Any]]:
    """The micro-batches as the arm's collator makes them, on the trainer's device."""
    made = []
    for rows in workload.batches():
        batch = trainer.data_collator(rows)
        if arm.stored:
            batch["ref_chosen_logps"] = torch.tensor([-8.0 * len(row["chosen_ids"]) for row in rows])
            batch["ref_rejected_logps"] = torch.tensor([-8.0 * len(row["rejected_ids"]) for row in rows])
        made.append({name: value.to(trainer.args.device) for name, value in batch.items()})
    return made


def _no_words() -> PreTrainedTokenizerFast:
    """A tokenizer for a trainer that gets tokens."""
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"<pad>": 0, "<eos>": 1}, unk_token="<eos>")),
        pad_token="<pad>",
        eos_token="<eos>",
    )
