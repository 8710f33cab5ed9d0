"""Which setting to change when a training does not fit, and what each saves."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kalign.config import launch
from kalign.training.planning import memory
from kalign.training.planning.memory import GIB, Load, Sharding

RANKS = 2  # on which a profile that divides the weights is tried


@dataclass(frozen=True, kw_only=True)
class Change:
    """One setting, and what it changes of a load."""

    words: str
    parts: dict[str, Any]
    note: str
    changes_result: bool = False


@dataclass(frozen=True, kw_only=True)
class Knob:
    """One change: what it saves alone, and what is needed with it and all that stand above it."""

    words: str
    saves_gib: float
    needed_gib: float
    fits: bool
    changes_result: bool
    note: str


def suggestions(load: Load, limit_bytes: int) -> list[Knob]:
    """The changes that save memory: those first that leave the result as it is, then by what they save, and
    no more of them than are needed."""
    needed = memory.total(load)
    saving = [(needed - memory.total(memory.changed(load, **change.parts)), change) for change in _all(load)]
    saving = [(saved, change) for saved, change in saving if saved > 0]
    knobs: list[Knob] = []
    for saved, change in sorted(saving, key=lambda pair: (pair[1].changes_result, -pair[0])):
        load = memory.changed(load, **change.parts)
        left = memory.total(load)
        knobs.append(
            Knob(
                words=change.words,
                saves_gib=round(saved / GIB, 2),
                needed_gib=round(left / GIB, 2),
                fits=left <= limit_bytes,
                changes_result=change.changes_result,
                note=change.note,
            )
        )
        if left <= limit_bytes:
            break
    return knobs


def spare(load: Load, limit_bytes: int) -> str | None:
    """What could be spent, where a training that recomputes its activations would fit without that too."""
    if not load.gradient_checkpointing:
        return None
    without = memory.total(memory.changed(load, gradient_checkpointing=False))
    if without > limit_bytes:
        return None
    return (
        f"trainer.gradient_checkpointing=false fits too ({without / GIB:.1f} GiB), and computes nothing twice"
    )


def _all(load: Load) -> Iterator[Change]:
    if not load.gradient_checkpointing or load.checkpoint_every > 1:
        yield Change(
            words="trainer.gradient_checkpointing=true",
            parts={"gradient_checkpointing": True, "checkpoint_every": 1},
            note="computes activations twice",
        )
    if load.pairs_at_once > 1 and load.row_tokens is None:
        yield Change(
            words="trainer.per_device_train_batch_size=1",
            parts={"pairs_at_once": 1},
            note="as many pairs a step, one after another",
        )
    if load.pairs_scored_at_once > 1:
        yield Change(
            words="trainer.per_device_eval_batch_size=1",
            parts={"pairs_scored_at_once": 1},
            note="scores held-out pairs one by one",
        )
    if load.sharding.weights == 1 and not load.load_in_4bit:
        divided = Sharding(weights=RANKS, gradients=RANKS, optimizer=RANKS, ranks=RANKS)
        for name in launch.names():
            if launch.profile(name).divides_weights:
                words = f"launch={name} ranks={RANKS}"
                yield Change(words=words, parts={"sharding": divided}, note="divides the base")
                break
    if not load.load_in_4bit:
        yield Change(
            words="adapter=qlora",
            parts={"load_in_4bit": True, "double_quant": True},
            note="the base in 4 bits",
            changes_result=True,
        )
    half = load.longest // 2
    yield Change(
        words=f"data.max_length={half}",
        parts={"longest": half, "scored": min(load.scored, half)},
        note="drops longer pairs",
        changes_result=True,
    )
