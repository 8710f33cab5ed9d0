"""Prompts that nothing may be like: the pack's own, and those of the user's files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from kalign import files, packs
from kalign.errors import ConfigError, DataError
from kalign.packs.pack import Pack


def prompts(pack: Pack, more: Sequence[str]) -> Iterator[str]:
    """Yield every one of them.

    Args:
        more: JSON-lines files with a text under prompt.

    Raises:
        DataError: a row has none.
    """
    for place in [packs.held_out(str(pack.folder)), *map(Path, more)]:
        for number, row in files.read_jsonl(place):
            if not isinstance(row.get("prompt"), str):
                raise DataError(f"{place}:{number}: held-out rows need a text under prompt")
            yield row["prompt"]


def count(pack: Pack, more: Sequence[str]) -> int:
    """How many there are."""
    return sum(1 for _ in prompts(pack, more))


def require_files(more: Sequence[str]) -> None:
    """Refuse a file that is not there, before anything is started.

    Raises:
        ConfigError: there is no such file.
    """
    for place in more:
        if not Path(place).is_file():
            raise ConfigError(
                f"held_out names {place}, which is no file; give JSON lines with a field prompt"
            )
