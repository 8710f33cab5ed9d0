"""A job of tests.training.forks: a profile that divides the model, on CPUs: `main(["zero2", WORD, ...])`.

Accelerate's own launcher reads the line that `kalign train launch=...` would run, and the training is a whole
one. Two things are told otherwise than on GPUs: the processes talk by gloo, and Accelerate, which forgets
FSDP where it sees no GPU, is told that it has some. Each rank writes down how much of the weights it holds.
"""

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import torch.distributed.run
from accelerate import PartialState
from accelerate.commands.launch import launch_command, launch_command_parser
from accelerate.utils import DistributedType
from torch.distributed.tensor import DTensor

from kalign import files
from kalign.cli import run
from kalign.config import launch
from kalign.training import arguments
from kalign.training import ranks as waiting

os.environ["DS_ACCELERATOR"] = "cpu"
TRANSPORT = import_module("deepspeed.comm.torch")  # whose name inside the package is that of torch itself


def main(words: list[str]) -> int:
    """Train as one rank of the profile that the first word names, and return the exit code."""
    name, *words = words
    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    stay_on_cpus(name)
    codes: list[int] = []
    # this process is a rank already: the launcher has only to say what it tells them
    torch.distributed.run.run = lambda _: codes.append(run(["train", *words]))
    line = launch.line(launch.profile(name, int(os.environ["WORLD_SIZE"])), words)
    launch_command(launch_command_parser().parse_args(line.arguments[3:]))
    return codes[0]


def stay_on_cpus(name: str) -> None:
    shared, connected = arguments.shared, arguments.connected

    def told(*given: Any) -> dict[str, Any]:
        return shared(*given) | {"use_cpu": False, "ddp_backend": "gloo"}

    def as_on_gpus(*given: Any) -> PartialState:
        ranks = connected(*given)
        if name == "fsdp2":
            ranks._shared_state["distributed_type"] = DistributedType.MULTI_GPU
        return ranks

    arguments.shared, arguments.connected = told, as_on_gpus
    # DeepSpeed's own transport would be compiled first, for a minute; gloo carries everything as well
    TRANSPORT.build_shm_op = lambda: None  # type: ignore[attr-defined]

    class Watched(waiting.StopWhenAsked):
        def on_step_end(self, args: Any, state: Any, control: Any, **options: Any) -> None:
            super().on_step_end(args, state, control, **options)
            files.write_json(
                Path(f"held-{args.process_index}.json"), held(options["model"], options["optimizer"])
            )

    waiting.StopWhenAsked = Watched  # type: ignore[misc]


def held(model: torch.nn.Module, optimizer: Any) -> dict[str, int]:
    """How many weights this rank holds of all: of the trained ones only, where the base is not divided."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    if hasattr(optimizer.optimizer, "single_partition_of_fp32_groups"):  # ZeRO-2 divides the optimizer's
        parts = optimizer.optimizer.single_partition_of_fp32_groups
        return {"whole": sum(w.numel() for w in trained), "held": sum(part.numel() for part in parts)}
    weights = list(model.parameters())
    if isinstance(weights[0], DTensor):
        return {
            "whole": sum(w.numel() for w in weights),
            "held": sum(w.to_local().numel() for w in weights),
        }
    return {"whole": sum(w.ds_numel for w in weights), "held": sum(w.ds_tensor.numel() for w in weights)}
