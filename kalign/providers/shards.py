"""Dividing work among processes that share nothing: by content, so that the same item is always the same
shard's, whatever the order and number of the others."""

import re
from dataclasses import dataclass

from kalign.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `index` (from 0) of `count`."""

    index: int = 0
    count: int = 1

    def has(self, key: str) -> bool:
        """Whether the item with this key, 64 hex digits, is this shard's."""
        return part(key, self.count) == self.index

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def part(key: str, count: int) -> int:
    """Which of `count` shards has the item with this key, from 0.

    >>> part("00" * 32, 3), part("ff" * 32, 3)
    (0, 2)
    """
    return int(key[:16], 16) * count >> 64


def read(text: str) -> Shard:
    """The shard that `--shard i/n` names, with i from 0 to n-1, as Slurm numbers the tasks of an array.

    >>> read("2/8")
    Shard(index=2, count=8)

    Raises:
        ConfigError: it names none.
    """
    named = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
    if named is None or not int(named[1]) < int(named[2]):
        raise ConfigError(f"--shard {text} is no shard; write i/n with i from 0 to n-1, such as 0/8")
    return Shard(int(named[1]), int(named[2]))
