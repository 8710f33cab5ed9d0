"""Tokenizers straight from their tokenizer.json, and the proof that nothing changed on the way.

transformers chooses a tokenizer's class by the model type in config.json, and for some of them replaces the
splitting that tokenizer.json asks for, silently: A.X 4.0 has Qwen 2's model type, and would get its regex. So
no class is chosen here: every tokenizer is the generic one around its own tokenizer.json, and is compared
with that file on texts of many kinds.
"""

import json
from functools import cache
from pathlib import Path

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast
from transformers.utils import cached_file

from kalign.errors import BrokenContract

BATTERY = Path(__file__).parent / "battery.json"  # where splitting differs between families


def load(source: str, *, revision: str | None) -> tuple[Tokenizer, PreTrainedTokenizerFast]:
    """The bare tokenizer of a folder or a Hub repository, and the same with its settings and chat template.

    Raises:
        OSError: there is no tokenizer.json, or the Hub cannot be reached.
    """
    raw = Tokenizer.from_file(cached_file(source, "tokenizer.json", revision=revision))
    return raw, PreTrainedTokenizerFast.from_pretrained(source, revision=revision)


def require_exact(tokenizer: PreTrainedTokenizerFast, raw: Tokenizer, name: str) -> None:
    """Refuse a tokenizer that does not cut every text of the battery as its tokenizer.json does.

    Raises:
        BrokenContract: it does not; the message has the first such text and both lists of ids.
    """
    for text in battery():
        ids = tokenizer.encode(text, add_special_tokens=False)
        wanted = raw.encode(text, add_special_tokens=False).ids
        if ids != wanted:
            raise BrokenContract(
                "tokenizer_differs",
                f"{name}: loaded, its tokenizer makes {ids} of {text!r}, but its tokenizer.json says "
                f"{wanted}; take out of tokenizer_config.json what adds to it, such as tokens",
            )


@cache
def battery() -> tuple[str, ...]:
    """Texts on which tokenizers differ: scripts, digits, blanks, line ends, marks, code, emoji."""
    return tuple(json.loads(BATTERY.read_text(encoding="utf-8")))
