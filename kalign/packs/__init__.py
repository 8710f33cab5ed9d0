"""Culture packs: one folder of data for each locale. No Python knows any of them; this module only finds
their files."""

import difflib
from pathlib import Path

from kalign.errors import ConfigError

PACKS = Path(__file__).parent


def names() -> list[str]:
    """The bundled packs."""
    return sorted(folder.name for folder in PACKS.iterdir() if (folder / "pairs.jsonl").is_file())


def pairs(name: str) -> Path:
    """The preference pairs of a pack: JSON lines with `id`, `category`, `type`, `prompt`, `chosen`,
    `rejected`, `failure`.

    Raises:
        ConfigError: there is no such pack.
    """
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1) or names()
        raise ConfigError(f"pack:{name} is no bundled pack; did you mean pack:{' or pack:'.join(near)}?")
    return PACKS / name / "pairs.jsonl"


def held_out(name: str) -> Path:
    """Prompts of a pack that nothing is trained on, harmful ones and their benign twins: JSON lines."""
    return PACKS / name / "held_out.jsonl"


def warmup(name: str) -> Path:
    """Exchanges that a tiny model of the pack's language is warmed up on: JSON lines with `prompt` and
    `answer`."""
    return PACKS / name / "warmup.jsonl"


def sentence_banks(name: str) -> Path:
    """More of them, as sentences to combine: JSON lines with `prompts`, and a list of sentences for each
    position."""
    return PACKS / name / "sentence_banks.jsonl"


def folder(name: str) -> Path:
    """Where a pack lies."""
    return PACKS / name
