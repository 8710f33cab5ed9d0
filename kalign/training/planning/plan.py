"""`kalign plan`: what a recipe would take under a launch profile, as one document."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from kalign.config import Recipe, launch
from kalign.errors import ConfigError
from kalign.models import loading, shapes
from kalign.training import limits
from kalign.training.planning import flops, knobs, memory, pairs, probe
from kalign.training.planning.memory import GIB, Load, Sharding
from kalign.training.planning.pairs import Counted

DEFAULT_GIB = 24.0  # the smallest card that the paper's settings are meant for
CARDS_GIB = (16, 24, 40, 48, 80, 141)
DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
SCHEDULE_MEAN = {"cosine": 0.5, "linear": 0.5, "constant": 1.0, "constant_with_warmup": 1.0}
SMALL_CHANGE = 2.2e-3
CHANGE_PER_RATE = 0.8


@dataclass(frozen=True, kw_only=True)
class Words:
    """What `kalign plan` is told besides the recipe."""

    launch: str = "single"
    ranks: int | None = None
    memory: float = DEFAULT_GIB
    tflops: float = flops.DEFAULT_TFLOPS

    def __post_init__(self) -> None:
        for key in ("ranks", "memory", "tflops"):
            value = getattr(self, key)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{key}={value} must be above 0")


def plan(recipe: Recipe, words: Words) -> dict[str, Any]:
    """Everything that is known before a device is touched, as plain values.

    Raises:
        ConfigError: the recipe cannot run so, or the model's architecture is not known.
        DataError: a row is malformed.
    """
    profile = launch.profile(words.launch, words.ranks)
    launch.require_divisible(recipe, profile)
    accumulation = recipe.trainer.accumulation(profile.ranks)
    located = loading.locate(recipe.model)
    config, known_from = shapes.configuration(located)
    shape = shapes.counted(config, known_from)
    adapter = shapes.adapted(config, recipe.adapter.lora())
    counted = pairs.counted(recipe, located)
    if counted.ledger and not counted.refused:
        refused = limits.beyond_positions(config, counted.longest, located.name)
        counted = dataclasses.replace(counted, refused=refused)
    limit = round(words.memory * GIB)
    load = load_of(recipe, profile, shape, adapter, counted)
    if recipe.trainer.gradient_checkpointing == "auto":
        load = memory.least_recomputed(load, limit)
    terms = memory.account(load)
    needed = memory.total(load)
    steps = steps_of(recipe, counted.train)
    settings = dataclasses.asdict(recipe)
    return {
        "recipe": recipe.name,
        "launch": {**dataclasses.asdict(profile), "accumulation": accumulation},
        "licence": settings["model"]["licence"],
        "model": {
            "repo": located.name,
            "class": shape.model_class,
            "known_from": shape.known_from,
            "parameters": shape.parameters,
            "quantisable": shape.parameters - shape.kept,
            "trainable": adapter.trainable,
        },
        "memory": {
            "terms": [dataclasses.asdict(term) for term in terms],
            "needed_gib": round(needed / GIB, 2),
            "limit_gib": words.memory,
            "fits": needed <= limit,
            "smallest_card_gib": next((card for card in CARDS_GIB if needed <= card * GIB), None),
            "knobs": [dataclasses.asdict(knob) for knob in knobs.suggestions(load, limit)]
            if needed > limit
            else [],
            "spare": knobs.spare(load, limit),
        },
        "data": dataclasses.asdict(counted),
        "time": time_of(recipe, words, load, counted, steps, probe.last(recipe, settings)),
        "warnings": warnings_of(recipe, steps),
    }


def load_of(
    recipe: Recipe,
    profile: launch.Profile,
    shape: shapes.Shape,
    adapter: shapes.Adapted,
    counted: Counted,
) -> Load:
    """What decides the memory of one rank.

    Raises:
        ConfigError: the optimizer's memory is not known.
    """
    if recipe.trainer.optim not in memory.OPTIMIZER_BYTES:
        raise ConfigError(
            f"trainer.optim={recipe.trainer.optim} is none whose memory a plan knows; it knows "
            f"{', '.join(memory.OPTIMIZER_BYTES)}"
        )
    ranks, budget = profile.ranks, recipe.trainer.tokens_per_micro_batch
    return Load(
        shape=shape,
        adapter=adapter,
        sharding=Sharding(
            weights=ranks if profile.divides_weights else 1,
            gradients=ranks if profile.divides_gradients else 1,
            optimizer=ranks if profile.divides_optimizer else 1,
            ranks=ranks,
        ),
        load_in_4bit=recipe.adapter.quantization.load_in_4bit,
        double_quant=recipe.adapter.quantization.bnb_4bit_use_double_quant,
        weight_bytes=DTYPE_BYTES[recipe.model.dtype],
        value_bytes=2 if recipe.trainer.bf16 else DTYPE_BYTES[recipe.model.dtype],
        dropout=recipe.adapter.lora_dropout > 0,
        gradient_checkpointing=bool(recipe.trainer.gradient_checkpointing),
        optim=recipe.trainer.optim,
        pairs_at_once=recipe.trainer.per_device_train_batch_size,
        pairs_scored_at_once=recipe.trainer.per_device_eval_batch_size,
        longest=counted.longest,
        scored=counted.scored,
        row_tokens=None if budget is None else max(budget, counted.longest + counted.scored),
    )


def steps_of(recipe: Recipe, train: int | None) -> int | None:
    """Optimizer steps of the whole training: every epoch is filled up to whole steps."""
    if recipe.trainer.max_steps > 0:
        return recipe.trainer.max_steps
    if train is None:
        return None
    return math.ceil(recipe.trainer.num_train_epochs * math.ceil(train / recipe.trainer.pairs_per_step))


def time_of(
    recipe: Recipe,
    words: Words,
    load: Load,
    counted: Counted,
    steps: int | None,
    measured: dict[str, Any] | None,
) -> dict[str, Any]:
    """Hours at a stated rate, and at the pace of an earlier run where there is one."""
    once, again = (
        flops.per_pair(load.shape, load.adapter, counted.work, gradient_checkpointing=checkpointing)
        for checkpointing in (False, load.gradient_checkpointing)
    )
    each = once + (again - once) / load.checkpoint_every
    ranks = load.sharding.ranks
    seen = steps * recipe.trainer.pairs_per_step if steps is not None else None
    scored = _scored(recipe, counted, steps)
    evaluation = scored * 2 * flops.forward_only(load.shape, counted.work) * ranks  # every rank scores all
    training = {
        "tflop_per_pair": round(each / 1e12, 4),
        "tflops": words.tflops,
        "steps": steps,
        "pairs_seen": seen,
        "hours_per_1000_pairs": _rounded(flops.hours(1000 * each, tflops=words.tflops, ranks=ranks)),
        "hours": None,
        "probe": measured,
        "hours_by_probe": None,
    }
    if seen is not None:
        operations = seen * each + evaluation
        training["hours"] = _rounded(flops.hours(operations, tflops=words.tflops, ranks=ranks))
    if seen is not None and measured is not None:
        training["hours_by_probe"] = _rounded(seen / measured["pairs_per_second_and_rank"] / ranks / 3600)
    return training


def warnings_of(recipe: Recipe, steps: int | None) -> list[str]:
    """What would go wrong later, and can be said now.

    A change of the weights far below their own rounding is lost when the adapter is merged and stored in
    bfloat16. Toy models trained with AdamW changed by about 0.8 x (alpha / r) x learning rate x steps
    relative to their weights; from 5e-3 on a merge kept all of it, at 8e-4 half.
    """
    if steps is None or recipe.model.dtype != "bfloat16":
        return []
    trainer, adapter = recipe.trainer, recipe.adapter
    scale = adapter.lora_alpha / (math.sqrt(adapter.r) if adapter.use_rslora else adapter.r)
    mean_rate = trainer.learning_rate * SCHEDULE_MEAN.get(trainer.lr_scheduler_type, 0.5)
    change = CHANGE_PER_RATE * scale * mean_rate * steps
    if change >= SMALL_CHANGE:
        return []
    return [
        f"trainer.learning_rate={trainer.learning_rate:g} over {steps} steps changes the weights by about "
        f"{change:.0e} of their size, which a merge stored in bfloat16 would round away in part; train "
        "longer, raise the rate, or serve the adapter as it is"
    ]


def _scored(recipe: Recipe, counted: Counted, steps: int | None) -> int:
    """How often a held-out pair is scored: before and after, and while training."""
    if not counted.held_out or steps is None:
        return 0
    times = 2
    if recipe.trainer.eval_strategy == "steps":
        times += steps // recipe.trainer.eval_steps
    elif recipe.trainer.eval_strategy == "epoch":
        times += math.ceil(recipe.trainer.num_train_epochs)
    return times * counted.held_out


def _rounded(hours: float) -> float:
    return float(f"{hours:.3g}")
