"""What can be checked of an export without running it: names, shapes, types, bytes, tokens, sums."""

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from kalign.errors import KalignError
from kalign.export import companions, merge, shards
from kalign.export.companions import SUMS
from kalign.export.faults import Fault
from kalign.export.merge import Plan
from kalign.export.origin import Origin
from kalign.models import tokenization

HOME = re.compile(rb"/(home|root|Users|tmp|work|mnt|data)/[\w.-]+/")


def sums(folder: Path) -> None:
    """Compare every file with SHA256SUMS."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except OSError as wrong:
        raise Fault("sums", f"{folder} has no {SUMS}, so it is no whole export; export again") from wrong
    noted = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    now = companions.sums(folder)
    for name in sorted({*noted, *now}):
        if noted.get(name) != now.get(name):
            state = "missing" if name not in now else "not listed" if name not in noted else "changed"
            raise Fault("sums", f"{folder}/{name} is {state}; export again")


def structure(folder: Path, origin: Origin, what: Plan) -> None:
    """Names, shapes and types of all tensors, against the base."""
    base, here = shards.shapes(origin.base), shards.shapes(folder)
    wanted = {what.rename(name): name for name in base}
    if missing := sorted(set(wanted) - set(here)):
        raise Fault("missing-tensor", f"{missing[0]} is missing ({len(missing)} such tensors); export again")
    if extra := sorted(set(here) - set(wanted)):
        raise Fault("extra-tensor", f"{extra[0]} is none of the base ({len(extra)} such tensors)")
    for new, old in wanted.items():
        kind = shards.SPELLED[what.kind(old, shards.TYPES[base[old][0]])]
        if here[new][1] != base[old][1]:
            raise Fault("shape", f"{new} has the shape {here[new][1]}, not {base[old][1]}")
        if here[new][0] != kind:
            raise Fault("dtype", f"{new} is {here[new][0]}, not {kind}")


def contents(folder: Path, origin: Origin, what: Plan) -> int:
    """Bytes outside what was trained, finite numbers inside it; returns how many tensors differ."""
    changed = 0
    renamed = {what.rename(name): name for name in shards.shapes(origin.base)}
    places = {name: path for path in shards.paths(origin.base) for name in shards.shapes_of(path)}
    for new, tensor in shards.tensors(folder):
        old = renamed[new]
        with safe_open(places[old], "pt") as shard:
            before = shard.get_tensor(old)
        if old in what.layers:
            if not torch.isfinite(tensor).all():
                raise Fault("not-finite", f"{new} holds NaN or infinity")
            changed += not torch.equal(tensor.float(), _sat_on(origin, what, old, before).float())
        elif not torch.equal(
            shards.raw(tensor), shards.raw(_sat_on(origin, what, old, before).to(before.dtype))
        ):
            raise Fault("outside-changed", f"{new} was not trained, but differs from the base")
    if not changed:
        raise Fault("nothing-merged", "every tensor is the base's; the adapter is not in the export")
    return changed


def _sat_on(origin: Origin, what: Plan, name: str, tensor: Tensor) -> Tensor:
    return merge.sat_on(origin, tensor) if name in what.dequantised else tensor


def tokens(folder: Path, origin: Origin, turn_end: int | None) -> None:
    """Tokenizer, template and stops, against those of the training."""
    trained = origin.manifest["inputs"]
    try:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        raw = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenization.require_exact(tokenizer, raw, folder.name)
    except (KalignError, Exception) as wrong:
        raise Fault(
            "tokenizer", f"{folder} has no tokenizer that loads exactly: {str(wrong)[:200]}"
        ) from wrong
    if companions.text_sha256(tokenizer.backend_tokenizer.to_str()) != trained["tokenizer_sha256"]:
        raise Fault("tokenizer", f"{folder} has another tokenizer than the training")
    if companions.text_sha256(str(tokenizer.chat_template)) != trained["template_sha256"]:
        raise Fault("template", f"{folder} has another chat template than the training")
    if turn_end is not None and turn_end not in stops(folder):
        raise Fault(
            "stops",
            f"{folder}/generation_config.json stops at {stops(folder)}, not at {turn_end}, which ends turns",
        )


def stops(folder: Path) -> list[int]:
    """The tokens at which generation ends."""
    for name in ("generation_config.json", "config.json"):
        if (folder / name).is_file():
            ends: Any = json.loads((folder / name).read_text(encoding="utf-8")).get("eos_token_id")
            if ends is not None:
                return ends if isinstance(ends, list) else [ends]
    return []


def tidy(folder: Path) -> None:
    """Refuse files that say where they were made, or that others could not read."""
    for path in folder.iterdir():
        if path.name == "training_args.bin" or path.stat().st_mode & 0o777 != 0o644:
            raise Fault("files", f"{path} is training_args.bin, or its mode is not 0644; export again")
        if (
            path.suffix in (".json", ".md")
            and path.name != "tokenizer.json"
            and HOME.search(path.read_bytes())
        ):
            raise Fault("files", f"{path} holds a path of this machine; export again")
