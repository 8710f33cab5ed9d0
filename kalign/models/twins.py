"""Tiny twins: random weights of a family's real class, with its special tokens, splitting and template.

A twin behaves as the real model does wherever names, shapes, tokens and templates decide, and answers
nonsense. It is built in seconds from the data in `families/` and the Korean pack, without network, and kept
in a cache folder whose name holds everything that it is made from.
"""

import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PreTrainedConfig

from kalign import files, packs
from kalign.errors import ResourceError
from kalign.models import exaone, families, heads
from kalign.models.families import Family, Tokens

exaone.register()
heads.allow_own_width()

SEED = 7
MADE_BY = ("torch", "transformers", "tokenizers", "safetensors")
METASPACE = "▁"


def folder(name: str) -> Path:
    """The folder of the twin of the family `name`, built now if it is not there yet.

    Raises:
        ConfigError: there is no such family.
        ResourceError: the cache folder cannot be written.
    """
    family = families.read(name)
    place = cache() / f"{name}-{_key(family)[:16]}"
    if not place.is_dir():
        try:
            _build_at(place, family)
        except OSError as wrong:
            raise ResourceError(
                f"the twin of {name} cannot be written to {place}: {wrong.strerror}; set XDG_CACHE_HOME to a "
                "folder that can be written"
            ) from wrong
    return place


def _build_at(place: Path, family: Family) -> None:
    """Build in a folder of its own, which takes the name `place` only when it is complete."""
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    try:
        build(family, partial)
        partial.chmod(0o755)  # a temporary folder is the user's alone
        _name_atomically(partial, place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def cache() -> Path:
    """Where twins are kept: `kalign/twins` in the user's cache folder (XDG_CACHE_HOME, or ~/.cache)."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "kalign" / "twins"


def config(settings: Mapping[str, Any]) -> PreTrainedConfig:
    """The settings of the class that `model_type` names."""
    given = dict(settings)
    return AutoConfig.for_model(given.pop("model_type"), **given)


def build(family: Family, out: Path) -> None:
    """Write the twin of `family` to the empty folder `out`."""
    core = build_tokenizer(family.tokenizer, _texts())
    built = config(_with_ids(family.twin_settings(), family.ids, core))
    room = built.get_text_config().vocab_size
    if core.get_vocab_size() > room:
        raise ValueError(f"{family.name}: {core.get_vocab_size()} tokens do not fit into vocab_size={room}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = AutoModelForCausalLM.from_config(built, dtype=torch.bfloat16)
    text = built.get_text_config()
    model.generation_config = GenerationConfig(
        bos_token_id=text.bos_token_id,
        eos_token_id=[core.token_to_id(token) for token in family.stops],
        pad_token_id=text.pad_token_id,
    )
    model.save_pretrained(out)
    core.save(str(out / "tokenizer.json"))
    files.write_json(
        out / "tokenizer_config.json",
        {**family.tokenizer.settings, "model_max_length": text.max_position_embeddings},
    )
    (out / "chat_template.jinja").write_text(family.template, encoding="utf-8")


def build_tokenizer(tokens: Tokens, texts: list[str]) -> Tokenizer:
    """A tokenizer of the family's kind, its merges learned from `texts`."""
    core = _byte_level(tokens) if tokens.style == "byte_level" else Tokenizer(models.BPE())
    if tokens.style == "metaspace":
        core.normalizer = normalizers.Replace(" ", METASPACE)
        core.pre_tokenizer = pre_tokenizers.Split(METASPACE, behavior="merged_with_next")
    special = [AddedToken(token, special=True, normalized=False) for token in tokens.special]
    alphabet = pre_tokenizers.ByteLevel.alphabet() if tokens.style == "byte_level" else []
    trainer = trainers.BpeTrainer(
        vocab_size=tokens.learned, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(texts, trainer)
    if tokens.style == "metaspace":
        core = _with_byte_fallback(core, special, tokens.settings["unk_token"])
    if tokens.first:
        core.post_processor = processors.TemplateProcessing(
            single=f"{tokens.first} $A",
            pair=f"{tokens.first} $A {tokens.first} $B",
            special_tokens=[(tokens.first, core.token_to_id(tokens.first))],
        )
    return core


def _byte_level(tokens: Tokens) -> Tokenizer:
    core = Tokenizer(models.BPE())
    if tokens.normalizer:
        core.normalizer = {"NFC": normalizers.NFC}[tokens.normalizer]()
    steps: list[pre_tokenizers.PreTokenizer] = []
    if tokens.split:
        steps.append(pre_tokenizers.Split(Regex(tokens.split), behavior="isolated"))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not tokens.split))
    core.pre_tokenizer = pre_tokenizers.Sequence(steps)
    core.decoder = decoders.ByteLevel()
    return core


def _with_byte_fallback(core: Tokenizer, special: list[AddedToken], unknown: str) -> Tokenizer:
    """The same merges with a token for each byte that spells what no token holds, as SentencePiece has it."""
    learned = json.loads(core.to_str())["model"]
    in_order = sorted(learned["vocab"], key=learned["vocab"].get)
    own = [token.content for token in special]
    pieces = [*own, *(f"<0x{byte:02X}>" for byte in range(256)), *in_order[len(own) :]]
    vocabulary = {token: number for number, token in enumerate(pieces)}
    merges = [tuple(merge) for merge in learned["merges"]]
    spelled = Tokenizer(models.BPE(vocabulary, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True))
    spelled.normalizer = core.normalizer
    spelled.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    spelled.decoder = decoders.Sequence(
        [decoders.Replace(METASPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    spelled.add_special_tokens(special)
    return spelled


def _with_ids(settings: dict[str, Any], ids: dict[str, str], core: Tokenizer) -> dict[str, Any]:
    for key, token in ids.items():
        *path, last = key.split(".")
        change: dict[str, Any] = {last: core.token_to_id(token)}
        for part in reversed(path):
            change = {part: change}
        settings = families.merged(settings, change)
    return settings


def _texts() -> list[str]:
    return [row[key] for _, row in files.read_jsonl(packs.warmup("ko")) for key in ("prompt", "answer")]


def _key(family: Family) -> str:
    """The hash of all that the twin is made from."""
    code = [Path(module.__file__ or "") for module in (families, exaone)] + [Path(__file__)]
    made_from = [
        repr(family),
        *(files.sha256(path) for path in code),
        files.sha256(packs.warmup("ko")),
        *(importlib.metadata.version(library) for library in MADE_BY),
    ]
    return sha256("\0".join(made_from).encode()).hexdigest()


def _name_atomically(partial: Path, place: Path) -> None:
    """Give the finished folder its name, unless another process was first: both built the same."""
    for path in partial.iterdir():
        files.flush(path)
    try:
        partial.rename(place)
    except OSError:
        if not place.is_dir():
            raise
