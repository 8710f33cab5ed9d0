"""What an export's files show by themselves, without its run and its base: what --verify checks at least.

A check that does not hold is a Fault.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from kalign.errors import BrokenContract
from kalign.export import companions, names, shards
from kalign.export.companions import OWN_FOLDER, SUMS
from kalign.export.faults import Fault
from kalign.export.prover import Tell
from kalign.models import tokenization

CERTIFICATE = "certificate.json"
HOME = re.compile(rb"/(home|root|Users|tmp|work|mnt|data)/[\w.-]+/")
BESIDE = (CERTIFICATE, "README.md")  # written after the files that the certificate names


def certificate(folder: Path) -> dict[str, Any]:
    """The certificate that lies in the folder."""
    try:
        content: dict[str, Any] = json.loads((folder / CERTIFICATE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as wrong:
        raise Fault(
            "sums", f"{folder} has no {CERTIFICATE} that can be read; it is no export, or not a whole one"
        ) from wrong
    return content


def sums(folder: Path, certified: Mapping[str, str]) -> None:
    """Every file against SHA256SUMS and against the certificate."""
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
        if name not in BESIDE and certified.get(name) != now[name]:
            raise Fault("sums", f"{folder}/{name} is not the file that was certified; export again")


def tensors(folder: Path, noted: Mapping[str, Any], tell: Tell) -> None:
    """Names, shapes and types as certified and as the class of config.json has them; all numbers finite."""
    found = shards.shapes(folder)
    if header_sha256(folder) != noted["header_sha256"]:
        raise Fault("shape", f"{folder} has other tensors, shapes or types than were certified; export again")
    model = names.shell(folder)
    wanted = set(model.state_dict()) - set(model.all_tied_weights_keys)
    if missing := sorted(wanted - set(names.by_layer(folder, model))):
        raise Fault(
            "missing-tensor", f"{missing[0]} of {type(model).__name__} is not in {folder}; export again"
        )
    for number, (name, tensor) in enumerate(shards.tensors(folder)):
        tell("looking for NaN and infinity", number, len(found))
        if not torch.isfinite(tensor).all():
            raise Fault("not-finite", f"{name} holds NaN or infinity; export again")


def header_sha256(folder: Path) -> str:
    """One hash over names, types and shapes of all tensors."""
    lines = [f"{name} {kind} {sizes}\n" for name, (kind, sizes) in sorted(shards.shapes(folder).items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def tokens(folder: Path, noted: Mapping[str, Any], turn_end: int | None) -> None:
    """Tokenizer, template and stops, against the hashes of the training.

    Args:
        noted: tokenizer_sha256 and template_sha256.
        turn_end: the token that ends answers; None where the export does not generate by itself.
    """
    try:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        raw = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenization.require_exact(tokenizer, raw, folder.name)
    except BrokenContract as wrong:
        raise Fault("tokenizer", str(wrong)) from wrong
    except Exception as wrong:  # tokenizers raises bare Exceptions for files that it cannot read
        said = " ".join(str(wrong).split())[:200]
        raise Fault("tokenizer", f"{folder} has no tokenizer that loads: {said}; export again") from wrong
    if companions.text_sha256(tokenizer.backend_tokenizer.to_str()) != noted["tokenizer_sha256"]:
        raise Fault("tokenizer", f"{folder} has another tokenizer than the training; export again")
    if companions.text_sha256(str(tokenizer.chat_template)) != noted["template_sha256"]:
        raise Fault("template", f"{folder} has another chat template than the training; export again")
    if turn_end is not None and turn_end not in stops(folder):
        raise Fault(
            "stops",
            f"{folder}/generation_config.json stops at {stops(folder)}, not at {turn_end}, which ends turns; "
            "export again",
        )


def plain(folder: Path, read: Mapping[str, list[list[int]] | str]) -> dict[str, str]:
    """What transformers' own AutoTokenizer makes of the folder, in words.

    Args:
        read: the battery's ids by folder, or what loading said.

    Raises:
        Fault: no place of the export gives the ids of the training.
    """
    raw = Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts = tokenization.battery()
    wanted = [raw.encode(text, add_special_tokens=False).ids for text in texts]
    found = {}
    for place, ids in read.items():
        if isinstance(ids, str):
            said = "does not load without kalign"
        else:
            off = [text for text, one, other in zip(texts, ids, wanted, strict=True) if one != other]
            said = f"differs on {len(off)} of {len(texts)} texts, such as {off[0]!r}" if off else "exact"
        found[OWN_FOLDER if Path(place) != folder else "."] = said
    if "exact" not in found.values():
        raise Fault("tokenizer", f"AutoTokenizer on {folder}: {found['.']}; export again")
    return found


def stops(folder: Path) -> list[int]:
    """The tokens at which generation ends."""
    for name in ("generation_config.json", "config.json"):
        if (folder / name).is_file():
            content = json.loads((folder / name).read_text(encoding="utf-8"))
            ends: Any = content.get("eos_token_id", content.get("text_config", {}).get("eos_token_id"))
            if ends is not None:
                return ends if isinstance(ends, list) else [ends]
    return []


def tidy(folder: Path) -> None:
    """Refuse files that say where they were made, or that others could not read."""
    for path in folder.rglob("*"):
        mode = 0o755 if path.is_dir() else 0o644
        if path.name == "training_args.bin" or path.stat().st_mode & 0o777 != mode:
            raise Fault("files", f"{path} is training_args.bin, or its mode is not {mode:o}; export again")
        written = path.suffix in (".json", ".md") and path.name != "tokenizer.json"
        if written and HOME.search(path.read_bytes()):
            raise Fault("files", f"{path} holds a path of this machine; export again")
