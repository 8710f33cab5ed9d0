"""Culture packs: one folder of data for each locale. No Python knows any of them: a user's own folder is as
good as a bundled one."""

import difflib
from pathlib import Path

from kalign.errors import ConfigError
from kalign.packs import pack
from kalign.packs.pack import Pack

PACKS = Path(__file__).parent
SKELETON = PACKS / "skeleton"  # what a new pack starts from


def names() -> list[str]:
    """The bundled packs."""
    return sorted(
        path.parent.name for path in PACKS.glob(f"*/{pack.FILE}") if path.parent.name != SKELETON.name
    )


def folder(name: str) -> Path:
    """Where a pack lies: a bundled name, or the path of a folder of one's own.

    Raises:
        ConfigError: there is no such pack, or the name means a bundled pack and a folder here.
    """
    own = Path(name).expanduser()
    if name in names():
        bundled = PACKS / name
        if (own / pack.FILE).is_file() and own.resolve() != bundled.resolve():
            raise ConfigError(f"pack {name} is bundled and a folder here; write ./{name} for the folder")
        return bundled
    if name.strip() and own.is_dir():
        return own
    near = difflib.get_close_matches(name, names(), n=1) or names()
    raise ConfigError(
        f"pack {name!r} is neither bundled nor a folder; did you mean {' or '.join(near)}? "
        "(kalign pack new NAME starts one)"
    )


def load(name: str) -> Pack:
    """The pack of that name or path.

    Raises:
        ConfigError: there is no such pack.
        DataError: its pack.yaml is not what it should be.
    """
    return pack.load(folder(name))


def pairs(name: str) -> Path:
    """The preference pairs of a pack: JSON lines with `id`, `category`, `type`, `prompt`, `chosen`,
    `rejected`, `failure`.

    Raises:
        ConfigError: there is no such pack.
    """
    return folder(name) / "pairs.jsonl"


def easy_pairs(name: str) -> Path:
    """More pairs in few and simple sentences, which a tiny model can follow; a pack may do without them."""
    return folder(name) / "easy_pairs.jsonl"


def held_out(name: str) -> Path:
    """Prompts of a pack that nothing is trained on, harmful ones and their benign twins: JSON lines."""
    return folder(name) / "held_out.jsonl"


def warmup(name: str) -> Path:
    """Exchanges that a tiny model of the pack's language is warmed up on: JSON lines with `prompt` and
    `answer`."""
    return folder(name) / "warmup.jsonl"


def sentence_banks(name: str) -> Path:
    """More of them, as sentences to combine: JSON lines with `prompts`, and a list of sentences for each
    position."""
    return folder(name) / "sentence_banks.jsonl"
