"""What the twin of each known model is made of: shape, tokens and chat template, as data beside this file.

FAMILY.yaml    like        another family that this one differs from; null takes a key away
               size        the real model's settings: its file in `sizes/`
               twin        what the twin has instead
               tokenizer   style and special tokens; ids and stops: which of them stand where
FAMILY.jinja   the chat template, written from its published behaviour
"""

import difflib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kalign.errors import ConfigError

FOLDER = Path(__file__).parent
SIZES = FOLDER.parent / "sizes"


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """How a family's tokenizer cuts text, and its special tokens in the order of their ids."""

    learned: int  # tokens after training, the special ones among them
    style: str  # byte_level (GPT-2, Qwen 2, Llama 3) or metaspace (Gemma)
    split: str | None  # regex of the pre-tokenisation; None is GPT-2's own
    normalizer: str | None
    first: str | None  # what the tokenizer itself writes before a text
    special: list[str]
    settings: dict[str, str]  # of tokenizer_config.json


@dataclass(frozen=True, kw_only=True)
class Family:
    """One model as data."""

    name: str
    size: dict[str, Any]  # config.json of the real model
    twin: dict[str, Any]
    tokenizer: Tokens
    ids: dict[str, str]  # token by the dotted key of config.json that holds its id
    stops: list[str]  # where generation ends
    template: str

    def twin_settings(self) -> dict[str, Any]:
        """config.json of the twin: the real one, made smaller."""
        return merged(self.size, self.twin)


def names() -> list[str]:
    """Every family that is known."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read(name: str) -> Family:
    """The family called `name`.

    Raises:
        ConfigError: there is none.
    """
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1) or names()
        raise ConfigError(f"model.family={name} is unknown; did you mean {' or '.join(near)}?")
    content = _content(name)
    template = (FOLDER / content.pop("template")).read_text(encoding="utf-8")
    tokens = Tokens(**content.pop("tokenizer"))
    size = json.loads((SIZES / f"{content.pop('size')}.json").read_text(encoding="utf-8"))["config"]
    return Family(name=name, size=size, tokenizer=tokens, template=template, **content)


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes`, mapping by mapping; a change to null takes the key away.

    >>> merged({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 5}, "d": None})
    {'a': {'b': 5, 'c': 2}}
    """
    result = dict(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


def _content(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    parent = content.pop("like", None)
    return merged(_content(parent), content) if parent else content
