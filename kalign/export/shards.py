"""Weights on disk, one tensor in memory at a time: reading shards, writing one like another."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from kalign.errors import DataError

INDEX = "model.safetensors.index.json"
# safetensors' names of the types that models come in
TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
SPELLED = {kind: name for name, kind in TYPES.items()}
Shape = tuple[str, list[int]]  # type by safetensors' name, and sizes


def paths(folder: Path) -> list[Path]:
    """The shards of a model: those that its index names, or the one file.

    Raises:
        DataError: there are none.
    """
    index = folder / INDEX
    if index.is_file():
        named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        return [folder / name for name in sorted(named)]
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        raise DataError(f"{folder.name} holds no safetensors weights, which an export is made from")
    return found


def shapes(folder: Path) -> dict[str, Shape]:
    """Type and sizes of every tensor, read from the headers alone."""
    return {name: shape for path in paths(folder) for name, shape in shapes_of(path).items()}


def shapes_of(path: Path) -> dict[str, Shape]:
    """The same of one shard."""
    with safe_open(path, "pt") as shard:
        parts = {name: shard.get_slice(name) for name in shard.keys()}  # noqa: SIM118 (it is no mapping)
        return {name: (part.get_dtype(), part.get_shape()) for name, part in parts.items()}


def tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Every tensor by name, one at a time."""
    for path in paths(folder):
        with safe_open(path, "pt") as shard:
            for name in shard.keys():  # noqa: SIM118
                yield name, shard.get_tensor(name)


def write(
    source: Path,
    target: Path,
    *,
    rename: Callable[[str], str],
    kinds: Mapping[str, torch.dtype],
    change: Callable[[str, Tensor], Tensor],
) -> int:
    """Write the shard `source` anew as `target`, tensor by tensor, and return the bytes of its tensors.

    safetensors' own writer wants a whole shard in memory; the format (a length, a header, the bytes) lets
    each tensor go to disk as soon as it is made.

    Args:
        kinds: the new type of each tensor that changes, by its old name; all others are copied byte for byte.
        change: makes the new tensor of those.
    """
    with safe_open(source, "pt") as shard, target.open("wb") as out:
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        names, end = list(shard.keys()), 0
        for name in names:
            part = shard.get_slice(name)
            kind = kinds.get(name, TYPES[part.get_dtype()])
            sizes = part.get_shape()
            start, end = end, end + kind.itemsize * torch.Size(sizes).numel()
            header[rename(name)] = {"dtype": SPELLED[kind], "shape": sizes, "data_offsets": [start, end]}
        spelled = json.dumps(header).encode()
        spelled += b" " * (-len(spelled) % 8)
        out.write(len(spelled).to_bytes(8, "little") + spelled)
        for name in names:
            tensor = shard.get_tensor(name)
            if name in kinds:
                tensor = change(name, tensor).to(kinds[name])
            raw(tensor).numpy().tofile(out)
    return end


def raw(tensor: Tensor) -> Tensor:
    """The bytes of a tensor, as they lie on disk."""
    return tensor.contiguous().reshape(-1).view(torch.uint8)
