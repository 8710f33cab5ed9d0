"""Launch profiles: on how many devices a training runs and what is divided among them, never what it
computes."""

import importlib.util
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kalign.config import suspicion
from kalign.config.compose import root
from kalign.config.rules import one_of
from kalign.config.schema import Recipe
from kalign.errors import ConfigError

ALONE = ("NO", "MULTI_GPU", "MULTI_CPU")  # Accelerate's names for: every rank holds everything


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a file of launch/ means for one rank: which parts are divided among all of them."""

    name: str
    ranks: int
    divides_weights: bool = False
    divides_gradients: bool = False
    divides_optimizer: bool = False


def names() -> list[str]:
    """Every profile of launch/."""
    return sorted(path.stem for path in root("launch").glob("*.yaml"))


def profile(name: str, ranks: int | None = None) -> Profile:
    """The profile called `name`, on `ranks` devices in place of its own number.

    Raises:
        ConfigError: there is none, it cannot have so many, or it says something that is not understood.
    """
    one_of("launch", name, tuple(names()))
    path = root("launch") / f"{name}.yaml"
    content = suspicion.parse(path)
    kind = str(content.get("distributed_type"))
    count = int(content.get("num_processes", 1)) if ranks is None else ranks
    if count < 1:
        raise ConfigError(f"ranks={count} must be at least 1; give the number of devices")
    if kind == "NO" and count != 1:
        raise ConfigError(f"ranks={count} does not go with launch={name}, which starts one; use launch=ddp")
    if kind in ALONE:
        return Profile(name=name, ranks=count)
    stage = 3 if kind == "FSDP" else _zero_stage(content)
    if stage is None:
        raise ConfigError(f"{path}: distributed_type: {kind} is none that a plan understands")
    return Profile(
        name=name,
        ranks=count,
        divides_weights=stage >= 3,
        divides_gradients=stage >= 2,
        divides_optimizer=stage >= 1,
    )


def asked(own: Mapping[str, Any]) -> Profile:
    """The profile that the words `launch` and `ranks` of a command name.

    Raises:
        ConfigError: `launch` is missing, or as `profile`.
    """
    if "launch" not in own:
        raise ConfigError(f"ranks={own['ranks']} needs a profile to start them by; give launch=ddp too")
    return profile(own["launch"], own.get("ranks"))


def _zero_stage(content: dict[str, Any]) -> int | None:
    if content.get("distributed_type") != "DEEPSPEED":
        return None
    return int(content.get("deepspeed_config", {}).get("zero_stage", 0))


@dataclass(frozen=True, kw_only=True)
class Line:
    """The command that starts a profile's processes, as it is run and as it is printed."""

    arguments: list[str]
    environment: dict[str, str]  # what is set besides the caller's own
    shown: str


def line(profile: Profile, words: Sequence[str]) -> Line:
    """The line of `accelerate launch` that trains `words` on the profile's devices.

    One process needs no launcher, and Accelerate's would not pass a signal on to it.
    """
    if profile.ranks == 1 and not profile.divides_gradients:
        alone = ["kalign", "train", *words]
        return Line(arguments=[sys.executable, "-m", *alone], environment={}, shown=shlex.join(alone))
    path = root("launch") / f"{profile.name}.yaml"
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if suspicion.parse(path).get("use_cpu") else {}
    options = ["--config_file", str(path), "--num_processes", str(profile.ranks)]
    options += ["--main_process_port", "0"]  # any free one, so that two trainings share a machine
    told = [*options, "--module", "kalign", "train", *words]
    before = "".join(f"{name}={value} " for name, value in hidden.items())
    return Line(
        arguments=[sys.executable, "-m", "accelerate.commands.launch", *told],
        environment=hidden,
        shown=before + shlex.join(["accelerate", "launch", *told]),
    )


def require_supported(recipe: Recipe, profile: Profile) -> None:
    """Refuse what cannot work on a profile, with what does.

    Raises:
        ConfigError: its step, its method or its base in 4 bits cannot be divided so, or this is one of
            several processes already.
    """
    name = profile.name
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            f"launch={name} starts processes, but this is one of several already; leave launch= away inside "
            "torchrun, srun or accelerate launch"
        )
    if profile.divides_gradients and recipe.method != "dpo":
        raise ConfigError(
            f"launch={name} divides the model, which method={recipe.method} scores and saves whole; use "
            "launch=ddp"
        )
    require_divisible(recipe, profile)
    recipe.trainer.accumulation(profile.ranks)


def require_divisible(recipe: Recipe, profile: Profile) -> None:
    """Refuse to divide weights that are held in 4 bits.

    Raises:
        ConfigError: the profile would.
    """
    if profile.divides_weights and recipe.adapter.quantization.load_in_4bit:
        raise ConfigError(
            f"launch={profile.name} divides the weights, and those held in 4 bits cannot be divided; use "
            "adapter=lora, or launch=ddp, where each device holds the whole base in 4 bits"
        )


def require_here(profile: Profile) -> None:
    """Refuse a profile that divides the model where this machine has not what it needs: Accelerate would
    run it undivided on CPUs and say nothing.

    Raises:
        ConfigError: DeepSpeed is not installed, or there are fewer accelerators than ranks.
    """
    if not profile.divides_gradients:
        return
    name = profile.name
    if name.startswith("zero") and importlib.util.find_spec("deepspeed") is None:
        raise ConfigError(
            f"launch={name} needs DeepSpeed; pip install 'kalign[deepspeed]', or use launch=fsdp2"
        )
    import torch  # heavy, and only asked what is here

    found = torch.accelerator.device_count()
    if found < profile.ranks:
        raise ConfigError(
            f"launch={name} divides the model among {profile.ranks} accelerators, and this machine has "
            f"{found}; give ranks=N, or use launch=cpu, which divides nothing"
        )
