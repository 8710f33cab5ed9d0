"""One process at a time: a lock file that says who holds it, and goes with its process however that ends."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from kalign import files
from kalign.errors import ConfigError, ResourceError


@contextlib.contextmanager
def held(path: Path, *, busy: Callable[[str], str], elsewhere: str, private: bool = False) -> Iterator[None]:
    """Hold the lock file `path`; it and its folder are made if missing, `private` for their owner.

    `busy` makes the sentence about who holds it, `elsewhere` is the remedy where nothing can be written.

    Raises:
        ConfigError: another process holds it.
        ResourceError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700 if private else 0o777, parents=True, exist_ok=True)
        opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o600 if private else 0o666)
    except OSError as wrong:
        files.raise_if_full(wrong, path.parent)
        raise ResourceError(f"{path.parent} cannot be written: {wrong.strerror}; {elsewhere}") from wrong
    with os.fdopen(opened, "a+", encoding="utf-8") as handle:
        if not _taken(handle.fileno()):
            handle.seek(0)
            raise ConfigError(busy(handle.read().strip() or "another process"))
        handle.seek(0)
        handle.truncate()
        handle.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        handle.flush()
        yield


def is_held(path: Path) -> bool:
    """Whether a process holds the lock file right now."""
    if not path.exists():
        return False
    with path.open("a+", encoding="utf-8") as handle:
        return not _taken(handle.fileno())


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
