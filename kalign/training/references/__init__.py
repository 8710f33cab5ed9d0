"""Reference log-probs that are computed once and kept: the frozen base never says anything else of a pair.

What a pair's log-probs depend on is the key that they are kept under, and nothing else is in it: other
learning rates, seeds, losses, betas, epochs and output folders find them again; other weights, numbers or
tokens never do.
"""

from kalign.training.references.attach import Used, of_trainer, use
from kalign.training.references.scoring import Scorer
from kalign.training.references.store import Logps, Store, identity, of_run

__all__ = ["Logps", "Scorer", "Store", "Used", "identity", "of_run", "of_trainer", "use"]
