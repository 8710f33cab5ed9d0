"""What lies beside the weights: settings, tokenizer and template, from the base's own files."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from transformers import AutoConfig, LlamaConfig

from kalign import files
from kalign.export.origin import Origin

COPIED = (
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
    "LICENSE",
    "NOTICE",
)
SUMS = "SHA256SUMS"


def copy(origin: Origin, out: Path, *, adapter_only: bool = False) -> None:
    """Copy byte for byte what belongs to the base, but for its settings and its weights."""
    for name in COPIED:
        if (origin.base / name).is_file() and not (adapter_only and name == "generation_config.json"):
            shutil.copyfile(origin.base / name, out / name)


def write_config(origin: Origin, out: Path, *, dtype: str | None, llama: bool) -> None:
    """Write config.json: the base's own, with the new type; an EXAONE's as a Llama's where that is wanted."""
    content: dict[str, Any] = json.loads((origin.base / "config.json").read_text(encoding="utf-8"))
    if llama:
        settings = LlamaConfig.to_dict(AutoConfig.from_pretrained(origin.base))
        content = {key: value for key, value in settings.items() if key not in ("auto_map", "_name_or_path")}
        content |= {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    if dtype:
        for block in (content, content.get("text_config", {})):
            for key in ("dtype", "torch_dtype"):
                if key in block or (block is content and key == "dtype"):
                    block[key] = dtype
    files.write_json(out / "config.json", content)


def write_sums(out: Path) -> None:
    """Write SHA256SUMS over all files, and make all of them readable by everyone (safetensors makes 0600)."""
    for path in out.iterdir():
        path.chmod(0o644)
    lines = [f"{digest}  {name}\n" for name, digest in sums(out).items()]
    (out / SUMS).write_text("".join(lines), encoding="utf-8")
    (out / SUMS).chmod(0o644)


def sums(out: Path) -> dict[str, str]:
    """The hash of every file but SHA256SUMS."""
    return {path.name: files.sha256(path) for path in sorted(out.iterdir()) if path.name != SUMS}


def text_sha256(text: str) -> str:
    """The hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()
