"""Where a model's files are, whether they may be trusted, and loading them exactly as the recipe says."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from kalign import files
from kalign.config import Model, Quantization
from kalign.errors import BrokenContract, ConfigError, DataError, IntegrityError, ResourceError
from kalign.models import exaone, heads, tokenization, twins

exaone.register()
heads.allow_own_width()

BUNDLED = Path(__file__).parent / "bundled"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
DROPOUTS = (
    "attention_dropout",
    "hidden_dropout",
    "embd_pdrop",
    "resid_pdrop",
    "attn_pdrop",
    "embed_dropout",
    "hidden_dropout_prob",
)


@dataclass(frozen=True)
class Located:
    """Where a model comes from: a folder, or a repository of the Hub at a revision."""

    name: str
    folder: Path | None
    revision: str | None

    @property
    def source(self) -> str:
        """What `from_pretrained` takes."""
        return str(self.folder) if self.folder else self.name


def locate(model: Model) -> Located:
    """Find the model and refuse a folder that could run code or hide weights.

    Raises:
        ConfigError: `model.repo` names nothing.
        IntegrityError: the folder holds pickles, code, or links out of it, and the recipe does not trust it.
    """
    if model.twin and model.family:
        return Located(f"twin:{model.family}", twins.folder(model.family), None)
    if not model.repo:
        raise ConfigError("model.repo is not set; give model.repo=OWNER/NAME, a folder, or model=tiny")
    if model.repo.startswith("bundled:"):
        name = model.repo.removeprefix("bundled:")
        if not (BUNDLED / name).is_dir():
            raise ConfigError(f"model.repo={model.repo} is not bundled; kalign has bundled:tiny")
        return Located(model.repo, BUNDLED / name, None)
    folder = Path(model.repo).expanduser()
    if folder.is_dir():
        require_safe(folder, model)
        return Located(model.repo, folder, None)
    if not HUB_ID.fullmatch(model.repo) or model.repo.startswith("."):
        raise ConfigError(
            f"model.repo={model.repo} is neither a folder here nor OWNER/NAME of the Hub; check the path"
        )
    return Located(model.repo, None, model.revision)


def require_safe(folder: Path, model: Model) -> None:
    """Refuse files that run code when they are loaded, unless the recipe pins exactly those.

    Raises:
        IntegrityError: there are such files, or a link leaves the folder.
    """
    native = _model_type(folder) == exaone.MODEL_TYPE  # kalign's class is used, whatever code lies there
    suffixes = PICKLES if native else (*PICKLES, ".py")
    suspects = sorted(
        path for path in folder.rglob("*") if path.suffix in suffixes and path.name != "training_args.bin"
    )
    named = [path.relative_to(folder).as_posix() for path in suspects]
    for path in folder.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            raise IntegrityError(f"{path} links to a place outside the model's folder; copy the file in")
    for config in sorted(folder.glob("*config.json")):
        content = config.read_text(encoding="utf-8", errors="replace")
        named += [
            f"{key} in {config.name}"
            for key in ("auto_map", "_attn_implementation_internal")
            if f'"{key}"' in content and not (native and key == "auto_map")
        ]
    if not named:
        return
    pin = hash_of(suspects)[:40]
    if model.trust_remote_code and model.revision == pin:
        return
    raise IntegrityError(
        f"{folder} holds what runs code when it is loaded "
        f"({', '.join(named[:4])}{', ...' if len(named) > 4 else ''}); use a "
        "copy with safetensors weights and without code, or, if you have read it and trust it, "
        f"model.trust_remote_code=true model.revision={pin}"
    )


def _model_type(folder: Path) -> str | None:
    try:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # said in one sentence when it is loaded
    return settings.get("model_type") if isinstance(settings, dict) else None


def load_tokenizer(model: Model, located: Located) -> PreTrainedTokenizerBase:
    """The model's tokenizer, cutting text just as its tokenizer.json says, with a pad token of its own.

    Raises:
        BrokenContract: it cuts text in another way, or has no pad token that ends no sequence too.
        DataError: there is no usable tokenizer.
        ResourceError: the Hub could not be reached.
    """
    with _explained(located):
        raw, tokenizer = tokenization.load(located.source, revision=located.revision)
    tokenization.require_exact(tokenizer, raw, located.name)
    if model.pad_token is not None:
        if model.pad_token not in tokenizer.get_vocab():
            fit = [token for token in tokenizer.get_added_vocab() if re.search("pad|reserved", token, re.I)]
            raise BrokenContract(
                "wrong_pad",
                f"model.pad_token={model.pad_token} is no token of {located.name}; name one that never "
                f"stands in text{', such as ' + ' or '.join(fit[:3]) if fit else ''}",
            )
        tokenizer.pad_token = model.pad_token
    if tokenizer.pad_token is None:
        raise BrokenContract(
            "wrong_pad",
            f"{located.name} has no pad token; set model.pad_token to a token that never stands in text, "
            "and never to the "
            "end-of-turn token",
        )
    if tokenizer.pad_token == tokenizer.eos_token:
        raise BrokenContract(
            "wrong_pad",
            f"{located.name}: its pad token {tokenizer.pad_token} ends sequences too, so no one could tell "
            "an end from a filler; set model.pad_token to a token that never stands in text",
        )
    return tokenizer


def quantization_config(quantization: Quantization) -> BitsAndBytesConfig | None:
    """What bitsandbytes is told; None leaves the weights as they are."""
    if not quantization.load_in_4bit:
        return None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantization.bnb_4bit_quant_type,
        bnb_4bit_use_double_quant=quantization.bnb_4bit_use_double_quant,
        bnb_4bit_compute_dtype=getattr(torch, quantization.bnb_4bit_compute_dtype),  # the name was checked
    )


def load_model(
    model: Model, located: Located, quantization: Quantization, *, device: torch.device
) -> PreTrainedModel:
    """The frozen base model.

    Args:
        device: where quantised weights are put at once; others are loaded on the CPU, and the trainer moves
            them.

    Raises:
        DataError: the weights are unreadable, or the model drops activations by itself.
        IntegrityError: some are missing, which transformers fills with random numbers and a warning.
        ResourceError: memory is not enough, or the Hub could not be reached.
    """
    quantised = quantization_config(quantization)
    with _explained(located):
        loaded: PreTrainedModel
        loaded, info = AutoModelForCausalLM.from_pretrained(
            located.source,
            output_loading_info=True,
            revision=located.revision,
            trust_remote_code=model.trust_remote_code,
            dtype=getattr(torch, model.dtype),
            attn_implementation=model.attn_implementation,
            use_safetensors=None if model.trust_remote_code else True,
            quantization_config=quantised,
            device_map={"": device} if quantised is not None else None,
        )
    if missing := sorted(info["missing_keys"]):
        raise IntegrityError(
            f"{located.name} lacks {len(missing)} of its weights ({missing[0]}, ...), which would be random "
            "numbers; complete its safetensors files, or mend its config.json"
        )
    _require_whole_blocks(loaded, located.name, device)
    _keep_differentiable(loaded)
    text_config = loaded.config.get_text_config()
    dropping = {name: getattr(text_config, name, 0) for name in DROPOUTS}  # families spell it differently
    if any(dropping.values()):
        spelled = ", ".join(f"{name}={value}" for name, value in dropping.items() if value)
        raise DataError(
            f"{located.name} drops activations while training ({spelled}), so the reference would be noise; "
            "set it to 0 in "
            "its config.json"
        )
    loaded.config.use_cache = False
    return loaded


def _require_whole_blocks(model: PreTrainedModel, name: str, device: torch.device) -> None:
    """Refuse what bitsandbytes 0.50 unpacks wrongly on a CPU, silently: rows that end inside a block of 4-bit
    weights.

    Raises:
        ConfigError: there is such a layer.
    """
    if device.type != "cpu":
        return
    for path, module in model.named_modules():
        if isinstance(module, Linear4bit) and module.in_features % module.weight.quant_state.blocksize:
            raise ConfigError(
                f"{name}: {path} has rows of {module.in_features} weights, which bitsandbytes unpacks "
                "wrongly on a CPU when they are held in 4 bits; use adapter=lora, or a GPU"
            )


def _keep_differentiable(model: PreTrainedModel) -> None:
    """Keep 4-bit weights in the layout that gradients pass through.

    On CPUs with AVX512-BF16, bitsandbytes 0.50 repacks them for inference the first time they are used in
    evaluation mode, and training goes on with the repacked ones: every gradient behind them is then silently
    wrong.
    """
    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def base_identity(located: Located) -> dict[str, Any]:
    """What a run notes of its base: the hash of a folder's weights, or the commit of a Hub repository."""
    if located.folder:
        weights = sorted(located.folder.glob("*.safetensors"))
        return {"repo": located.name, "weights_sha256": hash_of(weights)}
    config = AutoConfig.from_pretrained(located.name, revision=located.revision, trust_remote_code=False)
    return {
        "repo": located.name,
        "commit": getattr(config, "_commit_hash", None),
    }  # only set when it came from the Hub


def hash_of(paths: list[Path]) -> str:
    """One hash over several files, by name and content."""
    return sha256("".join(f"{path.name}\0{files.sha256(path)}\0" for path in paths).encode()).hexdigest()


@contextmanager
def _explained(located: Located) -> Iterator[None]:
    """Turn the many errors of loading into one sentence."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as wrong:
        raise ResourceError(
            f"{located.name} does not fit into memory; use adapter=qlora, or a smaller model"
        ) from wrong
    except (OSError, ValueError, KeyError, SafetensorError) as wrong:
        said = " ".join(str(wrong).split())[:300]
        if located.folder is None:
            raise ResourceError(
                f"{located.name} could not be fetched from the Hub ({said}); check the name, your access "
                "and the network, or "
                "give model.repo=FOLDER"
            ) from wrong
        raise DataError(f"{located.name} cannot be loaded: {said}") from wrong
