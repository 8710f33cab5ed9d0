"""The shards of one command as a Slurm array, by submitit, with the options that trainings take.

The jobs outlive the process that queued them: the same command finds them again by their name, and queues
only what is not done. A job that is warned of its end stops cleanly and queues itself again.
"""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kalign import preemption, runs
from kalign.errors import ConfigError, Interrupted
from kalign.preemption import Children
from kalign.sweeps.processes import noted
from kalign.sweeps.slurm import ASK_SECONDS, NAME, Slurm, executor, ranks, requeued


@dataclass(frozen=True)
class Part:
    """What one job of an array does: the command with one of its shards."""

    words: tuple[str, ...]
    outcome: str

    def __call__(self) -> int:
        """Run it, keep its exit code, and return it."""
        import submitit

        with preemption.passing_on() as children:
            code = children.run([sys.executable, "-m", "kalign", *self.words])
        if code == Interrupted.exit_code and children.given == signal.SIGUSR1.name:
            requeued(submitit.JobEnvironment().raw_job_id)
        Path(self.outcome).write_text(str(code), encoding="utf-8")
        return code


@dataclass(frozen=True, kw_only=True)
class Array:
    """The shards of one command.

    Args:
        words: the command of each shard, in their order.
        done: whether a shard is done already.
        folder: for logs and exit codes, inside that of the work.
    """

    words: Sequence[Sequence[str]]
    done: Callable[[int], bool]
    folder: Path

    @property
    def name(self) -> str:
        """Of its jobs: the same for as many shards of the same folder, and for no other folder."""
        place = self.folder.absolute()
        plain = re.sub(r"[^\w.-]", "-", place.parent.name)  # a comma would part two names for squeue
        return f"kalign-{plain}-{len(self.words)}-{runs.fingerprint(str(place))[:8]}"


def taken(options: Mapping[str, Any] | None, shards: int | None) -> int | None:
    """The number of shards that words ask for; None where they ask for no array.

    Raises:
        ConfigError: only one of the two is given, or the options are those of several processes.
    """
    if options is None and shards is None:
        return None
    if options is None or shards is None:
        raise ConfigError(
            f"shards=N and hydra/launcher={NAME} go together, as N jobs of an array; give both or neither"
        )
    if shards < 1:
        raise ConfigError(f"shards={shards} must be at least 1; use the number of jobs")
    if ranks(options) > 1:
        raise ConfigError("a shard is one process; leave hydra.launcher.nodes and tasks_per_node away")
    return shards


def run(array: Array, options: Mapping[str, Any]) -> int:
    """Queue what is not done, wait for all of it, and return the worst exit code.

    Raises:
        ConfigError: submitit is not installed, or Slurm takes no job.
        Interrupted: Slurm does not say which jobs it has.
    """
    with preemption.passing_on() as children:
        Slurm(children, options)
        queued = waiting(array.name)
        if queued is None:
            raise Interrupted(
                "Slurm does not answer to squeue, and nothing was queued; run the same command again"
            )
        if queued:
            print(f"kalign: jobs {array.name} are queued already", file=sys.stderr)
        else:
            _submit(array, options)
        return _waited(array, children)


def waiting(name: str) -> set[str] | None:
    """The jobs of this name that wait or run; None where Slurm does not answer."""
    asked = subprocess.run(
        ["squeue", "--me", "-h", "-r", "-n", name, "-o", "%F_%K"], capture_output=True, text=True
    )
    return set(asked.stdout.split()) if asked.returncode == 0 else None


def _outcome(array: Array, shard: int) -> Path:
    return array.folder.absolute() / f"{shard}-of-{len(array.words)}.code"


def _submit(array: Array, options: Mapping[str, Any]) -> None:
    left = [shard for shard in range(len(array.words)) if not array.done(shard)]
    if not left:
        return
    array.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    parts = []
    for shard in left:
        _outcome(array, shard).unlink(missing_ok=True)
        parts.append(Part(tuple(array.words[shard]), str(_outcome(array, shard))))
    with executor(array.folder.absolute(), array.name, options) as slurm, slurm.batch():
        jobs = [slurm.submit(part) for part in parts]
    number = re.sub(r"_.*", "", str(jobs[0].job_id))
    print(
        f"kalign: array {number} of {len(left)} jobs is queued; they go on without this command, and the "
        "same command waits for them again",
        file=sys.stderr,
    )


def _waited(array: Array, children: Children) -> int:
    """The worst that came of the jobs, once Slurm has none of them any more."""
    while waiting(array.name) != set():
        if children.given:
            return Interrupted.exit_code
        time.sleep(ASK_SECONDS)
    shards = range(len(array.words))
    codes = {shard: 0 if array.done(shard) else noted(_outcome(array, shard), 1) for shard in shards}
    for shard, code in codes.items():
        if code:
            print(
                f"kalign: shard {shard} ended with code {code}; its words are in {array.folder}",
                file=sys.stderr,
            )
    return max(codes.values(), key=lambda code: (code not in (0, Interrupted.exit_code), code))
