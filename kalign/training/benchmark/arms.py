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
from kalign.training.benchmark import elsewhere
from kalign.training.benchmark.workloads import Pair, Workload
from kalign.training.micro_batches import dealt, most, tokens_of
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
    fused: bool = True  # adapted layers in one product
    by_tokens: bool = False  # a step's pairs dealt by their tokens


ARMS: Mapping[str, Arm] = {
    "trl_defaults": Arm(
        about="TRL's own way, its reference asked in every step",
        shared=False,
        head=False,
        stored=False,
        checkpointing=True,
        dtype="float32",
        fused=False,
    ),
    "trl_precomputed": Arm(
        about="TRL's own way, its reference precomputed", shared=False, head=False, stored=True, fused=False
    ),
    "kalign": Arm(about="kalign with all of it", shared=True, head=True, stored=True),
    "kalign_without_store": Arm(
        about="kalign, the reference asked in every step", shared=True, head=True, stored=False
    ),
    "kalign_without_shared_prefix": Arm(
        about="kalign, prompts run twice and rows padded", shared=False, head=True, stored=True
    ),
    "kalign_without_fused_lora": Arm(
        about="kalign, adapted layers as PEFT runs them", shared=True, head=True, stored=True, fused=False
    ),
}
BY_TOKENS = Arm(
    about="kalign, pairs dealt by as many tokens as its largest micro-batch has",
    shared=True,
    head=True,
    stored=True,
    by_tokens=True,
)
ELSEWHERE = Arm(
    about=elsewhere.ABOUT, shared=False, head=False, stored=False, checkpointing=True, fused=False
)
EVERY: Mapping[str, Arm] = {**ARMS, "kalign_by_tokens": BY_TOKENS, elsewhere.NAME: ELSEWHERE}


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
        fuse=arm.fused,
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


def steps(arm: Arm, trainer: PairTrainer, workload: Workload) -> list[list[dict[str, Any]]]:
    """The micro-batches of each step, as the arm deals and collates them, on the trainer's device."""
    made = workload.steps()
    if arm.by_tokens:
        made = [_by_tokens(step) for step in made]
    return [[batch(arm, trainer, rows) for rows in step] for step in made]


def batch(arm: Arm, trainer: PairTrainer, rows: list[Pair]) -> dict[str, Any]:
    """One micro-batch as the arm's collator makes it."""
    made = trainer.data_collator(rows)
    if arm.stored:
        made["ref_chosen_logps"] = torch.tensor([-8.0 * len(row["chosen_ids"]) for row in rows])
        made["ref_rejected_logps"] = torch.tensor([-8.0 * len(row["rejected_ids"]) for row in rows])
    return {name: value.to(trainer.args.device) for name, value in made.items()}


def _by_tokens(step: list[list[Pair]]) -> list[list[Pair]]:
    """The pairs of a step in the fewest micro-batches of which none is larger than the largest was."""
    budget = max(sum(map(tokens_of, rows)) for rows in step)
    rows = [row for some in step for row in some]
    tokens = [tokens_of(row) for row in rows]
    for count in range(1, len(rows) + 1):
        deal = dealt(tokens, micro_batches=count, ranks=1)
        if most(tokens, deal) <= budget:
            break
    return [[rows[place] for place in places] for [places] in deal]


def _no_words() -> PreTrainedTokenizerFast:
    """A tokenizer for a trainer that gets tokens."""
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"<pad>": 0, "<eos>": 1}, unk_token="<eos>")),
        pad_token="<pad>",
        eos_token="<eos>",
    )
