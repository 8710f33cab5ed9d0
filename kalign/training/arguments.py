"""What TRL, the tracker and the launch are told: everything that decides something is stated, and checked."""

import dataclasses
import importlib.util
import logging
import os
import warnings
from datetime import timedelta
from typing import Any

import datasets
import torch
import transformers
from accelerate import PartialState
from torch.distributed.distributed_c10d import _set_pg_timeout
from trl import DPOConfig

from kalign.config import Recipe
from kalign.errors import ConfigError
from kalign.runs import Run


def calm() -> None:
    """Let the libraries report only what a user has to act on, and send nothing about the user anywhere."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    transformers.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    warnings.filterwarnings(
        "ignore", category=FutureWarning, module="(transformers|trl|peft|accelerate|torch)"
    )
    warnings.filterwarnings("ignore", message=".*pin_memory.*")


def dpo_config(recipe: Recipe, run: Run) -> DPOConfig:
    """TRL's arguments for a recipe: every setting that decides something is stated, none is left to TRL's
    defaults.

    Raises:
        ConfigError: this machine cannot do what the recipe asks for.
    """
    loss = dataclasses.asdict(recipe.loss) | {"loss_type": recipe.loss.losses()}
    return DPOConfig(
        **shared(recipe, run),
        **loss,
        max_length=None,  # kalign's pairs fit already
        disable_dropout=False,  # TRL's default would set lora_dropout to 0
    )


def shared(recipe: Recipe, run: Run) -> dict[str, Any]:
    """The arguments of every method.

    Raises:
        ConfigError: this machine cannot do what the recipe asks for.
    """
    settings = dataclasses.asdict(recipe.trainer)
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    accumulation = recipe.trainer.accumulation(world_size)
    del settings["pairs_per_step"], settings["shared_prefix"], settings["reference_store"]
    del settings["tokens_per_micro_batch"]
    settings["gradient_checkpointing"] = bool(recipe.trainer.gradient_checkpointing)  # auto: may be given up
    del settings["save_total_limit"]  # transformers would drop the old checkpoint before the new is sealed
    if world_size == 1 and torch.cuda.device_count() > 1:
        raise ConfigError(
            f"{torch.cuda.device_count()} GPUs are visible to one process; start one process for each with "
            f"'accelerate launch train.py recipe={recipe.name}', or show one with CUDA_VISIBLE_DEVICES=0"
        )
    require_precision(recipe)
    return {
        **settings,
        "output_dir": str(run.checkpoints),
        # without it, several processes on CPUs do not find each other
        "use_cpu": not torch.cuda.is_available(),
        "gradient_accumulation_steps": accumulation,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "data_seed": recipe.trainer.seed,
        "save_strategy": "steps",
        "logging_first_step": True,
        "logging_nan_inf_filter": False,  # would report a loss that is no number as 0
        "ddp_find_unused_parameters": False,
        "disable_tqdm": False,  # its default follows the log level, which is set to errors
        "report_to": _tracker(recipe, run),
        "run_name": run.path.name,
    }


def require_precision(recipe: Recipe) -> None:
    """Refuse arithmetic that this machine has no units for.

    Raises:
        ConfigError: it has none.
    """
    if recipe.trainer.bf16 and not torch.cuda.is_available():
        raise ConfigError(
            "trainer.bf16=true needs a GPU, and none is here; use trainer.bf16=false model.dtype=float32"
        )


def dtype(recipe: Recipe) -> str:
    """The type that the model computes in."""
    return "bfloat16" if recipe.trainer.bf16 else recipe.model.dtype


def connected(recipe: Recipe) -> PartialState:
    """All processes of this launch, connected; none waits longer than `trainer.ddp_timeout` for another one's
    step.

    Raises:
        ConfigError: fewer are connected than were started; each would train by itself into the same folder.
    """
    ranks = PartialState()
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks.num_processes != started:
        raise ConfigError(
            f"{started} processes were started, but {ranks.num_processes} take part in the training; start "
            "them with torchrun "
            "or with 'accelerate launch --multi_gpu'"
        )
    if started > 1 and ranks.device.type == "cpu":  # where transformers leaves the timeout at torch's own
        _set_pg_timeout(timedelta(seconds=recipe.trainer.ddp_timeout))
    return ranks


def require_divided(distributed: str) -> None:
    """Refuse a training that was to be divided and is not.

    Args:
        distributed: what Accelerate made of the launch; on CPUs it drops FSDP and DeepSpeed and says nothing.

    Raises:
        ConfigError: the launcher asked for another one.
    """
    for kind in ("FSDP", "DEEPSPEED"):
        if os.environ.get(f"ACCELERATE_USE_{kind}") == "true" and distributed != kind:
            raise ConfigError(
                f"the launch asks for {kind} and Accelerate made {distributed} of it, where every process "
                "holds the whole model; start it on GPUs, or use launch=ddp"
            )


def require_no_deepspeed(setting: str) -> None:
    """Refuse a setting that DeepSpeed, which counts micro-batches itself, was never tried with.

    Raises:
        ConfigError: the launch asks for DeepSpeed.
    """
    if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true":
        raise ConfigError(f"{setting} was not tried with DeepSpeed; leave it away, or use launch=fsdp2")


def _tracker(recipe: Recipe, run: Run) -> str:
    """Tell the tracker, through the variables it reads, which run this is; a repeated command continues its
    curves.

    Raises:
        ConfigError: its library is not installed.
    """
    if recipe.tracker.name == "wandb":
        told = {
            "WANDB_PROJECT": recipe.tracker.project,
            "WANDB_RUN_ID": run.path.name,
            "WANDB_RESUME": "allow",
            "WANDB_MODE": recipe.tracker.mode,
            "WANDB_DIR": str(run.path),
        }
        if recipe.tracker.group:
            told["WANDB_RUN_GROUP"] = recipe.tracker.group
        os.environ.update(told)
    elif recipe.tracker.name == "tensorboard":
        if importlib.util.find_spec("tensorboard") is None:
            raise ConfigError(
                "tracker=tensorboard needs TensorBoard, which is not installed; pip install "
                "'kalign[tensorboard]', or use tracker=none"
            )
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(run.path / "tensorboard")
    return recipe.tracker.name
