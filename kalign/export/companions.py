"""What lies beside the weights: settings, tokenizer and template, from the base's own files."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoConfig, AutoTokenizer, LlamaConfig

from kalign import files
from kalign.export.origin import Origin
from kalign.models import tokenization

TOKENIZER = ("tokenizer.json", "special_tokens_map.json", "chat_template.jinja")
COPIED = (
    *TOKENIZER,
    "generation_config.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
    "LICENSE",
    "NOTICE",
)
TOKENIZER_CONFIG = "tokenizer_config.json"
OWN_FOLDER = "tokenizer"  # the tokenizer once more, without a config.json that makes transformers replace it
SUMS = "SHA256SUMS"


def copied(origin: Origin, *, adapter_only: bool = False) -> list[str]:
    """The files of the base that an export has byte for byte."""
    left_out = ("generation_config.json",) if adapter_only else ()
    return [name for name in COPIED if name not in left_out and (origin.base / name).is_file()]


def copy(origin: Origin, out: Path, *, adapter_only: bool = False) -> None:
    """Copy what is the base's byte for byte, and write its tokenizer's settings."""
    for name in copied(origin, adapter_only=adapter_only):
        shutil.copyfile(origin.base / name, out / name)
    files.write_json(out / TOKENIZER_CONFIG, tokenizer_config(origin))


def tokenizer_config(origin: Origin) -> dict[str, Any]:
    """The base's settings of its tokenizer, of the class that reads tokenizer.json as it stands."""
    content = _read(origin.base / TOKENIZER_CONFIG)
    content.pop("auto_map", None)  # code that no export carries
    return content | {"tokenizer_class": "PreTrainedTokenizerFast"}


def add_own_folder(out: Path) -> None:
    """Put the tokenizer into a folder of its own, for servers that take one beside the model's."""
    (out / OWN_FOLDER).mkdir()
    for name in (*TOKENIZER, TOKENIZER_CONFIG):
        if (out / name).is_file():
            shutil.copyfile(out / name, out / OWN_FOLDER / name)


def reads_plainly(folder: Path) -> bool:
    """Whether transformers' AutoTokenizer cuts the battery as tokenizer.json says.

    It does not for a model type whose class it forces: every Qwen2 gets Qwen2's splitting, an A.X too
    (transformers 5.23, MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS).
    """
    raw = Tokenizer.from_file(str(folder / "tokenizer.json"))
    plain = AutoTokenizer.from_pretrained(folder)
    return all(
        plain.encode(text, add_special_tokens=False) == raw.encode(text, add_special_tokens=False).ids
        for text in tokenization.battery()
    )


def config(origin: Origin, *, dtype: str | None, llama: bool) -> dict[str, Any]:
    """What config.json holds: the base's own, with the new type.

    Args:
        llama: describe an EXAONE as the Llama that it computes.
    """
    content = _read(origin.base / "config.json")
    if llama:
        settings = LlamaConfig.to_dict(AutoConfig.from_pretrained(origin.base))
        content = json.loads(json.dumps(settings))  # as it comes back from disk: its keys are texts
        content.pop("_name_or_path", None)
        content |= {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    content.pop("auto_map", None)
    if dtype:
        for block in (content, content.get("text_config", {})):
            for key in ("dtype", "torch_dtype"):
                if key in block or (block is content and key == "dtype"):
                    block[key] = dtype
    return content


def write_sums(out: Path, hashes: Mapping[str, str]) -> None:
    """Write SHA256SUMS, and make everything readable by everyone (safetensors makes 0600)."""
    (out / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in hashes.items()), "utf-8")
    for path in (out, *out.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def sums(out: Path) -> dict[str, str]:
    """The hash of every file but SHA256SUMS, by its path in the folder."""
    paths = sorted(path for path in out.rglob("*") if path.is_file())
    return {path.relative_to(out).as_posix(): files.sha256(path) for path in paths if path != out / SUMS}


def text_sha256(text: str) -> str:
    """The hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return content
