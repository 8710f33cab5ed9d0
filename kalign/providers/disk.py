"""Where a ledger may lie, who may read it, and that one process at a time writes it."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from kalign import files
from kalign.errors import ConfigError, ResourceError

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
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.fdopen(os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600), "a+", encoding="utf-8")
    except OSError as wrong:
        files.raise_if_full(wrong, path)
        raise ResourceError(f"{path} cannot be written: {wrong.strerror}; name another folder") from wrong
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as wrong:
            handle.seek(0)
            raise ConfigError(
                f"{path} is written by {handle.read().strip() or 'another process'} right now; wait for it, "
                "or name another ledger"
            ) from wrong
        handle.truncate(0)
        handle.write(f"process {os.getpid()}\n")
        handle.flush()
        yield


def create_private(path: Path) -> None:
    """SQLite gives its log files the permissions of the file itself, so that one must be private first."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    path.chmod(0o600)
