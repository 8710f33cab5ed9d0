"""What stops a training that cannot be right: a wrong first step, a reward that collapses."""

import math
from statistics import fmean
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from kalign.config import Loss, Reward
from kalign.errors import NumericError

TOLERANCE = {"float32": 1e-5, "bfloat16": 5e-3, "float16": 5e-3}
# A stored reference was scored in batches of other shapes, which round differently
STORED_TOLERANCE = {"float32": 5e-4, "bfloat16": 5e-2, "float16": 5e-2}


def first_loss(loss: Loss) -> float | None:
    """The loss while policy and reference are the same; None where the loss does not only depend on the
    margin.

    Source:
        TRL 1.16, `DPOTrainer._compute_loss`, with every log-ratio at zero.
    """
    beta = loss.beta
    constants = {
        "sigmoid": math.log(2),
        "sigmoid_norm": math.log(2),
        "robust": math.log(2),
        "aot": math.log(2),
        "aot_unpaired": math.log(2),
        "hinge": 1.0,
        "apo_zero": 1.0,
        "apo_down": 1.0,
        "nca_pair": 2 * math.log(2),
        "bco_pair": 2 * math.log(2),
        "ipo": 1 / (4 * beta**2),
        "sppo_hard": 1 / (2 * beta**2),
    }
    names = loss.losses()
    if loss.use_weighting or any(name not in constants for name in names):
        return None
    weights = loss.loss_weights or [1.0] * len(names)
    return sum(weight * constants[name] for name, weight in zip(names, weights, strict=True))


class FirstStep(TrainerCallback):
    """Stops when the first step does not start from the reference: the loss is then known, and the margin is
    zero."""

    def __init__(self, loss: Loss, *, dtype: str, stored: bool = False) -> None:
        self.expected = first_loss(loss)
        self.tolerance = (STORED_TOLERANCE if stored else TOLERANCE)[dtype]

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Look at the first training log, which holds the mean over the first step alone.

        Raises:
            NumericError: the loss or the margin is not what an untrained adapter gives.
        """
        if state.global_step != 1 or not logs or "loss" not in logs:
            return
        margin, loss = logs["rewards/margins"], logs["loss"]
        right = abs(margin) <= self.tolerance  # put this way round, because no comparison with NaN holds
        if self.expected is not None:
            right = right and abs(loss - self.expected) <= self.tolerance * max(1.0, self.expected)
        if not right:
            wanted = "" if self.expected is None else f" and the loss {self.expected:.6f}"
            raise NumericError(
                f"the first step has margin {margin:.6f} and loss {loss:.6f}, but before training the "
                f"margin is 0{wanted}: "
                "the reference is not the model that is trained. An adapter that does not start at zero, "
                "dropout in the "
                "base, or a base quantised differently would do that"
            )


class Rewards(TrainerCallback):
    """Stops a reward that collapses, and a policy that runs away from its base.

    Args:
        span: from the lowest to the highest reward that there can be.
    """

    def __init__(self, limits: Reward, *, span: float) -> None:
        self.limits = limits
        self.span = span

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Look at every training log, and at those before it, which a resumed training has too.

        Raises:
            NumericError: the mean reward fell too far below its start, or the KL to the base is too large.
        """
        if not logs or "reward" not in logs:
            return
        kl, limits = logs.get("kl"), self.limits
        if kl is not None and not abs(kl) <= limits.max_kl:
            raise NumericError(
                f"the KL to the base is {kl:.3f} nats a token at step {state.global_step}, beyond "
                f"reward.max_kl={limits.max_kl:g}; the last checkpoint is untouched. Lower "
                "trainer.learning_rate, or raise reward.beta"
            )
        rewards = [log["reward"] for log in state.log_history if "reward" in log]
        if len(rewards) < 2 * limits.window:
            return
        start, now = fmean(rewards[: limits.window]), fmean(rewards[-limits.window :])
        if not now >= start - limits.max_drop * self.span:
            raise NumericError(
                f"the mean reward fell from {start:.3f} to {now:.3f} by step {state.global_step}, more than "
                f"reward.max_drop={limits.max_drop:g} of its range; the last checkpoint is untouched. Lower "
                "trainer.learning_rate, or raise reward.beta"
            )
