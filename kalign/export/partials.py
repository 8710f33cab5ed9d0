"""Where an export is written before it has a name: a hidden folder that is gone in the end."""

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kalign import files
from kalign.errors import ResourceError

LOCK = ".lock"


@contextlib.contextmanager
def beside(out: Path) -> Iterator[Path]:
    """A new folder on the disk of `out`, removed in the end.

    What exports to `out` that were killed have left is removed first: a lock goes with its process.

    Raises:
        ResourceError: nothing can be written there.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        room = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as wrong:
        files.raise_if_full(wrong, out)
        raise ResourceError(f"out={out} cannot be written: {wrong.strerror}; give another folder") from wrong
    for left in out.parent.glob(f".{out.name}-*/{LOCK}"):
        with left.open() as handle, contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left.parent, ignore_errors=True)
    try:
        with (room / LOCK).open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)
