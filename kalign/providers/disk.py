"""Where a ledger may lie, who may read it, and that one process at a time writes it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from kalign import locks
from kalign.errors import ResourceError

# WAL keeps its index in shared memory, which machines that share a folder do not share
NETWORKED = (
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "fuse.sshfs",
    "lustre",
    "gpfs",
    "beegfs",
    "ceph",
    "9p",
    "afs",
)


def require_local(path: Path, mounts: Path = Path("/proc/mounts")) -> None:
    """Refuse a network file system, on which two machines would corrupt the file.

    Raises:
        ResourceError: `path` lies on one.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # no Linux: nothing to read it from
        return
    where = path.absolute()
    fitting = [
        (mounted, kind)
        for _, mounted, kind, *_ in (line.split(" ") for line in lines if line.count(" ") >= 3)
        if where.is_relative_to(mounted.replace("\\040", " "))
    ]
    kind = max(fitting, key=lambda entry: len(entry[0]), default=("", ""))[1]
    if kind in NETWORKED:
        raise ResourceError(
            f"{path} lies on a network file system ({kind}), where a ledger can be damaged; put it on a disk "
            "of this machine"
        )


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep every other process from writing; the lock goes with the process, however that ends.

    Raises:
        ConfigError: another process holds it.
        ResourceError: the folder cannot be written.
    """

    def busy(holder: str) -> str:
        return f"{path} is written by {holder} right now; wait for it, or name another ledger"

    with locks.held(Path(f"{path}.lock"), busy=busy, elsewhere="name another folder", private=True):
        yield


def create_private(path: Path) -> None:
    """SQLite gives its log files the permissions of the file itself, so that one must be private first."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    path.chmod(0o600)
