"""Where an export is written before it has a name: a hidden folder that is gone in the end."""

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

LOCK = ".lock"


@contextlib.contextmanager
def beside(out: Path) -> Iterator[Path]:
    """A new folder on the disk of `out`, removed in the end.

    What exports to `out` that were killed have left is removed first: a lock goes with its process.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    for left in out.parent.glob(f".{out.name}-*/{LOCK}"):
        with left.open() as handle, contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left.parent, ignore_errors=True)
    room = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        with (room / LOCK).open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)
