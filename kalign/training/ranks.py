"""How the processes of a training meet: what one does alone may take hours, what all do together may not."""

import os
import time
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from kalign.preemption import Notice

PATIENCE = timedelta(days=7)  # for data, answers and scores, which the first process makes alone


def wait() -> None:
    """Wait for the slowest process, however long it works alone.

    The group is one of its own, so the short timeout that finds a hung training step stays what it is. The
    wait sleeps in Python: a signal is heard, and a process that fails ends the wait of the others.
    """
    if not dist.is_initialized():
        return
    group = dist.new_group(backend="gloo", timeout=PATIENCE)
    arrived = dist.barrier(group=group, async_op=True)
    while not arrived.is_completed():
        time.sleep(0.02)
    arrived.wait()
    dist.destroy_process_group(group)


def told(here: Any) -> Any:
    """What the first process holds, on every process."""
    box = [here]
    if dist.is_initialized():
        dist.broadcast_object_list(box, device=PartialState().device)
    return box[0]


def gathered(here: Any) -> list[Any]:
    """What each process holds, in the order of their ranks, on every process."""
    if not dist.is_initialized():
        return [here]
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, here)
    return found


def anywhere(here: bool) -> bool:
    """Whether it is so on any process; each gets the same answer."""
    return bool(most(int(here)))


def most(here: int) -> int:
    """The largest number that any process has; each gets the same answer."""
    if not dist.is_initialized():
        return here
    told = torch.tensor([here], device=PartialState().device)
    dist.all_reduce(told, op=dist.ReduceOp.MAX)
    return int(told.item())


def on_this_machine() -> int:
    """How many processes of this training share this machine's memory, as their launcher says."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


class StopWhenAsked(TrainerCallback):
    """Ends the training with a checkpoint after the step in which any process was asked to leave."""

    def __init__(self, notice: Notice) -> None:
        self.notice = notice
        self.stopped = False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Ask all processes, because a signal reaches them at different moments."""
        if anywhere(self.notice.given is not None):
            control.should_save = control.should_training_stop = self.stopped = True
