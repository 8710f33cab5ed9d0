"""What is checked of an export against its base, without running it: names, shapes, types, bytes.

A check that does not hold is a Fault.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from kalign import files
from kalign.export import companions, merge, shards
from kalign.export.faults import Fault
from kalign.export.merge import Plan
from kalign.export.origin import Origin
from kalign.export.prover import Tell


def settings(folder: Path, origin: Origin, *, dtype: str | None, llama: bool) -> None:
    """config.json, and every file that is the base's byte for byte."""
    wanted, here = companions.config(origin, dtype=dtype, llama=llama), _json(folder / "config.json")
    tied = "tie_word_embeddings"
    if wanted.get(tied) != here.get(tied):
        raise Fault(
            "tied-head",
            f"{folder}/config.json has {tied}={here.get(tied)}, the base {wanted.get(tied)}; export again",
        )
    for key in sorted({*wanted, *here}):
        if wanted.get(key) != here.get(key):
            raise Fault(
                "settings",
                f"{folder}/config.json has {key}={here.get(key)}, not {wanted.get(key)}; export again",
            )
    copied(folder, origin)


def copied(folder: Path, origin: Origin, *, adapter_only: bool = False) -> None:
    """The files that are the base's byte for byte, and the tokenizer's settings."""
    for name in companions.copied(origin, adapter_only=adapter_only):
        kind = "tokenizer" if name in companions.TOKENIZER else "settings"
        if not (folder / name).is_file():
            raise Fault(kind, f"{folder}/{name} is missing; export again")
        if files.sha256(folder / name) != files.sha256(origin.base / name) and kind == "settings":
            raise Fault(kind, f"{folder}/{name} is not the base's; export again")
    if _json(folder / companions.TOKENIZER_CONFIG) != companions.tokenizer_config(origin):
        raise Fault("tokenizer", f"{folder}/{companions.TOKENIZER_CONFIG} is not the base's; export again")


def structure(folder: Path, origin: Origin, what: Plan) -> None:
    """Names, shapes and types of all tensors, against the base."""
    base, here = shards.shapes(origin.base), shards.shapes(folder)
    wanted = {what.rename(name): name for name in base}
    missing, extra = sorted(set(wanted) - set(here)), sorted(set(here) - set(wanted))
    for name in extra:
        if original := next((one for one in missing if name.endswith(one) or one.endswith(name)), None):
            raise Fault("prefix", f"{original} is called {name} ({len(extra)} such tensors); export again")
    if missing:
        raise Fault("missing-tensor", f"{missing[0]} is missing ({len(missing)} such tensors); export again")
    if extra:
        if _tied(folder) and extra[0].endswith("lm_head.weight"):
            raise Fault("tied-head", f"{extra[0]} stands beside the embedding that it is; export again")
        raise Fault(
            "extra-tensor", f"{extra[0]} is none of the base ({len(extra)} such tensors); export again"
        )
    for new, old in wanted.items():
        kind = shards.SPELLED[what.kind(old, shards.TYPES[base[old][0]])]
        if here[new][1] != base[old][1]:
            raise Fault("shape", f"{new} has the shape {here[new][1]}, not {base[old][1]}; export again")
        if here[new][0] != kind:
            raise Fault("dtype", f"{new} is {here[new][0]}, not {kind}; export again")


def contents(folder: Path, origin: Origin, what: Plan, tell: Tell) -> int:
    """Bytes outside what was trained, finite numbers inside it; returns how many trained tensors differ."""
    changed = 0
    renamed = {what.rename(name): name for name in shards.shapes(origin.base)}
    places = {name: path for path in shards.paths(origin.base) for name in shards.shapes_of(path)}
    for number, (new, tensor) in enumerate(shards.tensors(folder)):
        tell("comparing tensors with the base", number, len(renamed))
        old = renamed[new]
        with safe_open(places[old], "pt") as shard:
            before = shard.get_tensor(old)
        start = merge.sat_on(origin, before) if old in what.dequantised else before
        if not torch.isfinite(tensor).all():
            raise Fault("not-finite", f"{new} holds NaN or infinity; export again")
        if old in what.layers:
            changed += not torch.equal(tensor.float(), start.float())
        elif not _same_bytes(tensor, start.to(before.dtype)):
            raise Fault("outside-changed", f"{new} was not trained, but differs from the base; export again")
    if not changed:
        raise Fault("nothing-merged", "every tensor is the base's; the adapter is not in the export")
    return changed


def _same_bytes(one: Tensor, other: Tensor) -> bool:
    return torch.equal(shards.raw(one), shards.raw(other))


def _tied(folder: Path) -> bool:
    content = _json(folder / "config.json")
    return bool(content.get("tie_word_embeddings", content.get("text_config", {}).get("tie_word_embeddings")))


def _json(path: Path) -> Mapping[str, Any]:
    try:
        content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as wrong:
        raise Fault("settings", f"{path} is missing or no JSON; export again") from wrong
    return content
