"""The base with the adapter in it: float32 arithmetic, one tensor in memory, the rest byte for byte."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from bitsandbytes import functional
from torch import Tensor

from kalign.errors import NumericError
from kalign.export import deltas, names, shards
from kalign.export.deltas import Adapter
from kalign.export.faults import Fault
from kalign.export.origin import Origin
from kalign.export.prover import Tell


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What becomes of each tensor of the base."""

    adapter: Adapter
    layers: dict[str, str]  # adapted layer by the name on disk of its weight
    dequantised: frozenset[str]  # tensors on disk that take the values of their 4-bit form first
    dtype: torch.dtype | None  # of trained tensors; None keeps what the base has
    rename: Callable[[str], str]

    @property
    def changed(self) -> frozenset[str]:
        """The names on disk of all tensors that may differ from the base."""
        return frozenset(self.layers) | self.dequantised

    def kind(self, name: str, before: torch.dtype) -> torch.dtype:
        """The type that a tensor is written in."""
        return self.dtype or before if name in self.layers else before


def plan(origin: Origin, *, dtype: str | None, base: str, llama: bool) -> Plan:
    """Match the adapter to the base's tensors.

    Args:
        dtype: float32, bfloat16 or float16; None is that of the base.
        base: 16bit, or dequantised: the values that 4-bit training really sat on.
        llama: write an EXAONE under Llama's names.

    Raises:
        IntegrityError: a layer of the adapter is none of the base.
    """
    adapter = deltas.read(origin.run.adapter)
    model = names.shell(origin.base)
    on_disk = names.by_layer(origin.base, model)
    missing = [layer for layer in adapter.layers if f"{layer}.weight" not in on_disk]
    if missing:
        raise Fault(
            "missing-tensor",
            f"the adapter's layer {missing[0]} is none of {origin.name} ({len(missing)} such layers)",
        )
    sat = names.quantised(model) if base == "dequantised" else set()
    return Plan(
        adapter=adapter,
        layers={on_disk[f"{layer}.weight"]: layer for layer in adapter.layers},
        dequantised=frozenset(on_disk[path] for path in sat if path in on_disk),
        dtype=getattr(torch, dtype) if dtype else None,
        rename=names.as_llama if llama else str,
    )


def write(origin: Origin, what: Plan, out: Path, tell: Tell) -> None:
    """Write all shards, and their index where there are several, into the folder `out`.

    Raises:
        NumericError: a number does not fit into the type.
    """
    sources = shards.paths(origin.base)
    total = 0
    for number, source in enumerate(sources):
        tell("merging shards", number, len(sources))
        kinds = {
            name: what.kind(name, shards.TYPES[kind])
            for name, (kind, _) in shards.shapes_of(source).items()
            if name in what.changed
        }
        total += shards.write(
            source,
            out / source.name,
            rename=what.rename,
            kinds=kinds,
            change=lambda name, tensor, kinds=kinds: _changed(origin, what, name, tensor, kinds[name]),  # type: ignore[misc]
        )
    index = origin.base / shards.INDEX
    if index.is_file():
        content = json.loads(index.read_text(encoding="utf-8"))
        content["weight_map"] = {what.rename(name): file for name, file in content["weight_map"].items()}
        content["metadata"] = {**content.get("metadata", {}), "total_size": total}
        (out / shards.INDEX).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def sat_on(origin: Origin, weight: Tensor) -> Tensor:
    """The values that a weight has once it was held in 4 bits, in the type that the run loaded it in."""
    settings = origin.quantization
    held, state = functional.quantize_4bit(
        weight.to(getattr(torch, origin.model.dtype)),
        quant_type=settings.bnb_4bit_quant_type,
        compress_statistics=settings.bnb_4bit_use_double_quant,
    )
    values: Tensor = functional.dequantize_4bit(held, state)
    return values


def _changed(origin: Origin, what: Plan, name: str, tensor: Tensor, kind: torch.dtype) -> Tensor:
    weight = sat_on(origin, tensor) if name in what.dequantised else tensor
    if name in what.layers:
        weight = what.adapter.merged(what.layers[name], weight)
    stored = weight.to(kind)
    if not torch.isfinite(stored).all():
        raise NumericError(f"{name} does not fit into {str(kind).removeprefix('torch.')}; use dtype=float32")
    return stored
