"""A process that runs one program of a model against its tests, with nothing to reach and nothing to break.

It is started by path, by an interpreter of its own, and reads one job from standard input: JSON with problem,
solution, folder and strict. Before any of that code runs, it gives up

    the network      a namespace of its own, without any device; and /run and /tmp, where sockets lie
    files            Landlock: writes in `folder` and in a shared memory, both its own and in memory, alone;
                     reads of the interpreter and the system's libraries alone
    processes        a namespace of its own: it sees and stops no other, and what it starts ends with it
    time, memory     evalplus' limits for every test and program, and those of this process
    the rest         the environment, and whatever evalplus' guard takes away

and answers with one line of JSON: how the base tests and the further ones ended.

Source:
    Scores and limits: evalplus 0.3.1, Liu et al. 2023, https://arxiv.org/abs/2305.01210. Landlock:
    https://docs.kernel.org/userspace-api/landlock.html.
"""

import ctypes
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

NEW_USER, NEW_NETWORK, NEW_MOUNTS = 0x10000000, 0x40000000, 0x00020000  # flags of unshare(2)
NEW_PROCESSES = 0x20000000  # of unshare(2): for children from then on
CREATE, ADD_RULE, RESTRICT = 444, 445, 446  # Landlock's system calls, the same on every machine
NO_NEW_PRIVILEGES, END_WITH_PARENT = 38, 1  # of prctl(2)
EXECUTE, WRITE, READ, LIST = 1, 2, 4, 8
ALL = (1 << 13) - 1  # what the first version knows
LATER = {2: 1 << 13, 3: 1 << 14}  # moving between folders, truncating
READABLE = ("/usr", "/lib", "/lib64", "/etc", "/proc", "/sys", "/dev", "/opt")
SHARED = "/dev/shm"  # where the locks and counters of evalplus lie
EMPTIED = ("/run", "/tmp")  # where the sockets of daemons and terminals lie, which Landlock does not close
LARGEST_FILE = 16 << 20
MOST_PROCESSES = 128  # threads too; the kernel does not count those of root
LONGEST = 600  # seconds of processor time, of all tests of one program
UNCONFINED = 3  # the exit code where the machine cannot confine


class Beneath(ctypes.Structure):
    """What a rule of Landlock says of one folder."""

    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def main() -> None:
    """Read the job, confine this process, run, and answer."""
    job = json.load(sys.stdin)
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    silent = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silent, stream)
    limit(job["folder"])
    try:
        confine(job["folder"])
    except OSError as wrong:
        if job["strict"]:
            print(json.dumps({"unconfined": str(wrong)}), file=answer, flush=True)
            sys.exit(UNCONFINED)
    if first := os.fork():  # the first of its namespace: when it ends, whatever was started there does
        os.waitpid(first, 0)
        return
    ctypes.CDLL(None).prctl(END_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    print(json.dumps(checked(job["problem"], job["solution"])), file=answer, flush=True)


def limit(folder: str) -> None:
    """Bound what this process and its children may use."""
    for what, most in (
        (resource.RLIMIT_FSIZE, LARGEST_FILE),
        (resource.RLIMIT_CPU, LONGEST),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 256),
    ):
        hard = resource.getrlimit(what)[1]
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (least, least))
    os.chdir(folder)
    os.environ.clear()
    os.environ |= {"TMPDIR": folder, "HOME": folder, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def confine(folder: str) -> None:
    """Leave the network, the other processes, and every file but those of `folder` and what may be read.

    Raises:
        OSError: the machine does not allow it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if not sys.platform.startswith("linux"):
        raise OSError("only Linux can confine a process so")
    user, group = os.getuid(), os.getgid()
    own = NEW_USER | NEW_NETWORK | NEW_MOUNTS | NEW_PROCESSES
    _must(libc.unshare(own), "a network of its own")
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")
    resource.setrlimit(resource.RLIMIT_NPROC, (MOST_PROCESSES, MOST_PROCESSES))
    readable = {*READABLE, sys.prefix, sys.base_prefix, sys.exec_prefix, str(Path(sys.executable).parent)}
    for place in (*EMPTIED, SHARED):
        if Path(place).is_dir() and not any(Path(one).is_relative_to(place) for one in readable):
            _empty(libc, place)
    Path(folder).mkdir(parents=True, exist_ok=True)
    _empty(libc, folder)  # so that what is written is bounded, too
    os.chdir(folder)
    version = libc.syscall(CREATE, None, 0, 1)
    _must(version, "Landlock")
    known = ALL | sum(bit for since, bit in LATER.items() if version >= since)
    handled = ctypes.c_uint64(known)
    rules = libc.syscall(CREATE, ctypes.byref(handled), 8, 0)
    _must(rules, "Landlock")
    for place in sorted(readable):
        if Path(place).is_dir():
            _allow(libc, rules, place, EXECUTE | READ | LIST)
    _allow(libc, rules, os.devnull, WRITE | READ)
    _allow(libc, rules, folder, known)
    _allow(libc, rules, SHARED, known)
    _must(libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0), "Landlock")
    _must(libc.syscall(RESTRICT, rules, 0), "Landlock")


def checked(problem: dict[str, Any], solution: str) -> dict[str, Any]:
    """How a program does on the base tests and on those that EvalPlus adds: pass, fail or timeout."""
    from evalplus.eval import untrusted_check
    from evalplus.gen.util import trusted_exec

    found = {}
    for part in ("base", "plus"):
        inputs = problem[f"{part}_input"]
        expected, seconds = trusted_exec(
            problem["prompt"] + problem["canonical_solution"],
            inputs,
            problem["entry_point"],
            record_time=True,
        )
        status, _ = untrusted_check(
            "humaneval",
            solution,
            inputs,
            problem["entry_point"],
            expected=expected,
            atol=problem["atol"],
            ref_time=seconds,
            fast_check=True,
        )
        found[part] = status
    return found


def _empty(libc: ctypes.CDLL, place: str) -> None:
    """Put a small folder in memory over a place, for this process and its children alone."""
    _must(libc.mount(b"none", place.encode(), b"tmpfs", 0, b"size=16m"), f"a {place} of its own")


def _allow(libc: ctypes.CDLL, rules: int, place: str, access: int) -> None:
    descriptor = os.open(place, os.O_PATH)
    rule = Beneath(access, descriptor)
    _must(libc.syscall(ADD_RULE, rules, 1, ctypes.byref(rule), 0), f"Landlock for {place}")
    os.close(descriptor)


def _must(result: int, what: str) -> None:
    if result < 0:
        raise OSError(f"{what}: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    main()
