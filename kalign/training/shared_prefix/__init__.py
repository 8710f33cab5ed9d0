"""Pairs whose prompt is computed once and that are never padded: the same log-probs for half the tokens.

TRL scores a pair as two rows, prompt and chosen, prompt and rejected, filled up to the longest row of the
batch. Here a whole micro-batch is one row without filler, and each prompt stands in it once. Losses, metrics
and trainer stay TRL's: the collator adds one key to TRL's batch, and the forward gives back the shape that
TRL expects.

Source:
    Wang and Hegde 2024, Accelerating Direct Preference Optimization with Prefix Sharing,
    https://arxiv.org/abs/2410.20305.
"""

from kalign.training.shared_prefix.collator import PairCollator
from kalign.training.shared_prefix.forward import install
from kalign.training.shared_prefix.layout import Layout, laid_out
from kalign.training.shared_prefix.support import why_not

__all__ = ["Layout", "PairCollator", "install", "laid_out", "why_not"]
