"""How many floating-point operations a training takes. Pure arithmetic.

A matrix of n weights costs 2n operations a token forward and 2n for the gradient of its input; frozen ones
need no gradient of their own, so LoRA costs 4n and not 6n.
"""

from dataclasses import dataclass

from kalign.models.shapes import Adapted, Shape

# What eager transformers and PEFT reached on one H100: LoRA on Llama-3.1-8B, bfloat16, 4 x 1024 tokens, SDPA:
# 9,621 tokens a second (published in MakazhanAlpamys/Soup#78) at 32.1 GFLOP a token.
DEFAULT_TFLOPS = 300.0


@dataclass(frozen=True, kw_only=True)
class Work:
    """Mean tokens of one pair as the model sees it: two rows, padded to the batch's longest."""

    padded: float
    scored: float  # tokens of both answers
    squared: float  # of both rows, their padded lengths squared and added up: what attention depends on


def per_pair(shape: Shape, adapter: Adapted, work: Work, *, gradient_checkpointing: bool) -> float:
    """Operations of one pair: policy forward and backward, recomputation, and the reference's forward."""
    attention = attention_forward(shape, work)
    head = work.scored * shape.vocabulary * shape.hidden
    policy = work.padded * (4 * shape.body + 6 * adapter.trainable) + 3.5 * attention + 6 * head
    if gradient_checkpointing:
        policy += work.padded * (2 * shape.body + 2 * adapter.trainable) + attention
    return policy + forward_only(shape, work)


def forward_only(shape: Shape, work: Work) -> float:
    """Operations of scoring one pair without a gradient."""
    head = work.scored * shape.vocabulary * shape.hidden
    return work.padded * 2 * shape.body + attention_forward(shape, work) + 2 * head


def attention_forward(shape: Shape, work: Work) -> float:
    """Operations of causal attention on one pair, forward: half of the square that a row spans, in every
    layer; an upper bound where layers have a window."""
    return 4 * shape.query * shape.layers * work.squared / 2


def hours(operations: float, *, tflops: float, ranks: int) -> float:
    """How long that takes on `ranks` devices that reach `tflops` each.

    >>> hours(3.6e18, tflops=500, ranks=2)
    1.0
    """
    return operations / (tflops * 1e12 * ranks) / 3600
