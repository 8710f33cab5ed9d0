import math

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from kalign.config import Loss
from kalign.errors import NumericError
from kalign.training import guards

STATE = TrainerState(global_step=1)
CONTROL = TrainerControl()


@pytest.fixture
def args(tmp_path: object) -> TrainingArguments:
    return TrainingArguments(output_dir=str(tmp_path), use_cpu=True)


def first(
    args: TrainingArguments, loss: Loss, *, value: float, margin: float, dtype: str = "float32"
) -> None:
    logs = {"loss": value, "rewards/margins": margin}
    guards.FirstStep(loss, dtype=dtype).on_log(args, STATE, CONTROL, logs=logs)


def test_losses_add_up_with_their_weights() -> None:
    both = Loss(loss_type=["sigmoid", "hinge"], loss_weights=[1.0, 0.5])
    assert guards.first_loss(both) == pytest.approx(math.log(2) + 0.5)
    assert guards.first_loss(Loss(loss_type=["sigmoid", "sft"])) is None


@pytest.mark.parametrize(
    ("value", "margin"),
    [(0.693264, 0.0), (math.log(2), -0.000233), (0.0, 0.0), (float("nan"), 0.0), (math.log(2), float("nan"))],
)
def test_a_first_step_that_does_not_start_from_the_reference_stops(
    value: float, margin: float, args: TrainingArguments
) -> None:
    with pytest.raises(NumericError, match="reference is not the model that is trained"):
        first(args, Loss(), value=value, margin=margin)


def test_a_right_first_step_passes_and_later_steps_are_not_looked_at(args: TrainingArguments) -> None:
    first(args, Loss(), value=math.log(2), margin=0.0)
    first(args, Loss(), value=0.6935, margin=0.0004, dtype="bfloat16")
    later = TrainerState(global_step=2)
    guards.FirstStep(Loss(), dtype="float32").on_log(
        args, later, CONTROL, logs={"loss": 9.0, "rewards/margins": 9.0}
    )
    guards.FirstStep(Loss(), dtype="float32").on_log(args, STATE, CONTROL, logs={"eval_loss": 9.0})
