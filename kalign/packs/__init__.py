"""Culture packs: one folder of data for each locale. No Python knows any of them: a user's own folder, or one
that an installed package brings, is as good as a bundled one."""

import difflib
from importlib import metadata, util
from pathlib import Path

from kalign.errors import ConfigError
from kalign.packs import pack
from kalign.packs.pack import Pack

PACKS = Path(__file__).parent
SKELETON = PACKS / "skeleton"  # what a new pack starts from


GROUP = "kalign.packs"  # entry points of other packages: ja = "kalign_pack_ja" names that package's folder


def names() -> list[str]:
    """The packs that have a name: bundled ones, and those that installed packages bring."""
    return sorted({*bundled(), *(entry.name for entry in metadata.entry_points(group=GROUP))})


def bundled() -> list[str]:
    """The packs that come with kalign."""
    return [path.parent.name for path in PACKS.glob(f"*/{pack.FILE}") if path.parent.name != SKELETON.name]


def folder(name: str) -> Path:
    """Where a pack lies: a bundled or installed name, or the path of a folder of one's own.

    Raises:
        ConfigError: there is no such pack, or the name means both a pack and a folder here, or several packs.
    """
    own = Path(name).expanduser()
    named = _named(name)
    if named:
        if (own / pack.FILE).is_file() and own.resolve() != named.resolve():
            came = "bundled" if named.parent == PACKS else "installed"
            raise ConfigError(f"pack {name} is {came} and a folder here; write ./{name} for the folder")
        return named
    if name.strip() and own.is_dir():
        return own
    near = difflib.get_close_matches(name, names(), n=1) or names()
    raise ConfigError(
        f"pack {name!r} is neither bundled, installed nor a folder; did you mean {' or '.join(near)}? "
        "(kalign pack new NAME starts one)"
    )


def _named(name: str) -> Path | None:
    """The folder of a bundled pack, or of one that an installed package brings."""
    brought = {entry.value for entry in metadata.entry_points(group=GROUP, name=name)}
    if len(brought) + (name in bundled()) > 1:
        raise ConfigError(
            f"pack {name} is bundled, or comes with several packages ({', '.join(sorted(brought))}); "
            "uninstall what should not be it"
        )
    for value in brought:
        for place in _folders(value):
            if (place / pack.FILE).is_file():
                return place
        raise ConfigError(
            f"pack {name} should be in the package {value}, which holds no {pack.FILE}; mend it"
        )
    return PACKS / name if name in bundled() else None


def _folders(value: str) -> list[Path]:
    """Where the folder of a dotted name may lie; the package is not imported."""
    top, *inner = value.split(".")
    try:
        spec = util.find_spec(top)
    except ValueError:  # no name of a package
        return []
    return [Path(place, *inner) for place in (spec and spec.submodule_search_locations) or ()]


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
