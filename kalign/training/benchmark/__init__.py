"""How fast a training step is, beside TRL's own on the same weights, adapter and batch, in one run.

Arms are compared by ratios: seconds mean little on a shared machine, so the arms take turns (A B C C B A),
and none is timed before all gave the same log-probs.
"""

from kalign.training.benchmark.compare import run

__all__ = ["run"]
