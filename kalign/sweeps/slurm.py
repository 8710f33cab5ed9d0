"""Trainings of a sweep as Slurm jobs, by submitit: each has N tasks, whose ranks find each other.

A job that is warned of its end saves and queues itself again; the options are those of Hydra's launcher
`submitit_slurm`, under their own names.
"""

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kalign import preemption
from kalign.config.rules import one_of
from kalign.errors import ConfigError, Interrupted
from kalign.preemption import OUTCOME, Children
from kalign.runs import Run
from kalign.sweeps.processes import noted

NAME = "submitit_slurm"
OPTIONS: Mapping[str, Callable[[str], Any]] = {
    **dict.fromkeys(("nodes", "tasks_per_node", "cpus_per_task", "gpus_per_node", "timeout_min"), int),
    **dict.fromkeys(("gpus_per_task", "cpus_per_gpu", "array_parallelism", "signal_delay_s"), int),
    "mem_gb": float,
    **dict.fromkeys(("partition", "qos", "account", "constraint", "exclude", "gres", "comment"), str),
    **dict.fromkeys(("mem_per_gpu", "mem_per_cpu"), str),
}
PORTABLE = ("nodes", "tasks_per_node", "cpus_per_task", "gpus_per_node", "timeout_min", "mem_gb")
DEFAULTS = {"timeout_min": 60, "signal_delay_s": 120, "array_parallelism": 256}
ASK_SECONDS = 2.0  # between two questions to Slurm, about all jobs at once
HAND_OVER_SECONDS = 120  # in which Slurm takes a job back that queued itself again


def taken(words: Sequence[str]) -> tuple[dict[str, Any] | None, list[str]]:
    """The options of `hydra/launcher=submitit_slurm hydra.launcher.KEY=VALUE`, and all other words; None
    where the words name no launcher.

    Raises:
        ConfigError: another launcher is named, or an option is unknown.
    """
    launchers = [word.partition("=")[2] for word in words if word.startswith("hydra/launcher=")]
    given = [word for word in words if word.startswith("hydra.launcher.")]
    rest = [word for word in words if not word.startswith(("hydra/launcher=", "hydra.launcher."))]
    for launcher in launchers:
        one_of("hydra/launcher", launcher, (NAME,))
    if not launchers:
        if given:
            raise ConfigError(f"{given[0]} needs a launcher; add hydra/launcher={NAME}")
        return None, rest
    options: dict[str, Any] = dict(DEFAULTS)
    for word in given:
        key, _, value = word.removeprefix("hydra.launcher.").partition("=")
        one_of("hydra.launcher option", key, tuple(OPTIONS))
        try:
            options[key] = OPTIONS[key](value)
        except ValueError as wrong:
            raise ConfigError(f"{word} is no number; write hydra.launcher.{key}=NUMBER") from wrong
    return options, rest


def ranks(options: Mapping[str, Any]) -> int:
    """How many processes one job has."""
    return int(options.get("nodes", 1)) * int(options.get("tasks_per_node", 1))


@dataclass(frozen=True)
class Task:
    """What each task of a job does: one rank of a training."""

    words: tuple[str, ...]
    outcome: str

    def __call__(self) -> int:
        """Train, and return the exit code, where it is one of a training that can go on or is done.

        Raises:
            ChildProcessError: the training failed, so that Slurm ends the other tasks, which would wait.
        """
        import submitit

        place = submitit.JobEnvironment()
        told = {
            "RANK": place.global_rank,
            "LOCAL_RANK": place.local_rank,
            "WORLD_SIZE": place.num_tasks,
            "MASTER_ADDR": place.hostnames[0],
            "MASTER_PORT": 20000 + int(place.raw_job_id) % 20000,  # jobs on one node must not meet
            OUTCOME: self.outcome,
        }
        os.environ.update({key: str(value) for key, value in told.items()})
        with preemption.passing_on() as children:
            code = children.run([sys.executable, "-m", "kalign", "train", *self.words])
        if code == Interrupted.exit_code and children.given == signal.SIGUSR1.name:
            requeued(place.raw_job_id if place.global_rank == 0 else None)
        if code not in (0, Interrupted.exit_code):
            raise ChildProcessError(f"kalign train ended with code {code}")
        return code


def requeued(job: str | None) -> None:
    """Queue this process's job again, unless another process does, and wait until Slurm takes it back."""
    if job is not None:
        print("kalign: saved; the job queues itself again", flush=True)
        subprocess.run(["scontrol", "requeue", job], check=True)
    time.sleep(HAND_OVER_SECONDS)


@contextlib.contextmanager
def executor(folder: Path, name: str, options: Mapping[str, Any], **more: Any) -> Iterator[Any]:
    """What hands jobs of that name to Slurm, each of which it may take back and start again.

    Args:
        folder: where submitit keeps what it needs of them.
        more: further parameters of submitit.

    Raises:
        ConfigError: Slurm takes no job.
    """
    os.environ["SUBMITIT_PREEMPT_SIGNAL"] = "USR1"  # read when submitit is imported, here and in the job
    import submitit

    try:
        made = submitit.AutoExecutor(folder=folder, cluster="slurm")
        made.update_parameters(
            name=name,
            **{key if key in PORTABLE else f"slurm_{key}": value for key, value in options.items()},
            **more,
            slurm_additional_parameters={"requeue": True},
            slurm_stderr_to_stdout=True,
        )
        yield made
    except RuntimeError as wrong:  # of which all errors of submitit are kinds
        said = " ".join(str(wrong).split())
        raise ConfigError(f"Slurm took no job: {said}; mend hydra.launcher's options") from wrong


class Slurm:
    """Trainings as jobs of a Slurm cluster, many at the same time.

    Args:
        options: of submitit, under the names of Hydra's launcher.

    Raises:
        ConfigError: submitit is not installed, or there is no Slurm here.
    """

    def __init__(self, children: Children, options: Mapping[str, Any]) -> None:
        if importlib.util.find_spec("submitit") is None:
            raise ConfigError("Slurm jobs need submitit, which is not installed; pip install 'kalign[sweep]'")
        self.children = children
        self.options = options
        self.at_once = int(options["array_parallelism"])
        self.asked_at = 0.0
        self.queued: set[str] | None = None

    def start(self, words: Sequence[str], run: Run, log: Path, handle: str = "") -> "_Job":
        """Queue one, or find the job again that was queued before for the same run."""
        outcome = log.absolute().with_suffix(".code")
        name = f"kalign-{run.path.name}"
        known = handle or self._named(name)
        if not known:
            outcome.unlink(missing_ok=True)
            known = self._submit(Task(tuple(words), str(outcome)), name, log)
        return _Job(self, known, log, outcome)

    def stopped(self) -> bool:
        """Whether a signal came; jobs go on without this process, and are found again."""
        return self.children.given is not None

    def _submit(self, task: Task, name: str, log: Path) -> str:
        folder = log.absolute().parent / "jobs"
        with executor(folder, name, self.options, slurm_srun_args=["--kill-on-bad-exit=1"]) as slurm:
            return str(slurm.submit(task).job_id)

    def _named(self, name: str) -> str:
        """The number of a job of this name that still waits or runs; empty if there is none."""
        asked = subprocess.run(
            ["squeue", "--me", "-h", "-n", name, "-o", "%A"], capture_output=True, text=True
        )
        return asked.stdout.split()[0] if asked.stdout.split() else ""

    def waits_or_runs(self, job: str) -> bool:
        """Whether Slurm still has the job; where it does not answer, it has."""
        if time.monotonic() - self.asked_at > ASK_SECONDS:
            asked = subprocess.run(["squeue", "--me", "-h", "-o", "%A"], capture_output=True, text=True)
            self.queued = set(asked.stdout.split()) if asked.returncode == 0 else None
            self.asked_at = time.monotonic()
        return self.queued is None or job in self.queued


class _Job:
    def __init__(self, slurm: Slurm, handle: str, log: Path, outcome: Path) -> None:
        self.slurm = slurm
        self.handle = handle
        self.outcome = outcome
        self.folder = log.absolute().parent / "jobs"
        self.tasks = ranks(slurm.options)
        self.log = log
        self.queued_at = time.monotonic()

    def code(self) -> int | None:
        """The worst code of its tasks, once Slurm no longer has it."""
        if self.slurm.stopped():
            return Interrupted.exit_code
        just_queued = time.monotonic() - self.queued_at < 2 * ASK_SECONDS  # the last answer may be older
        if just_queued or self.slurm.waits_or_runs(self.handle):
            return None
        import submitit

        job: Any = submitit.SlurmJob(self.folder, self.handle, tasks=range(self.tasks))
        said = sorted(self.folder.glob(f"{self.handle}_*_log.out"))
        self.log.write_text(
            "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in said), encoding="utf-8"
        )
        every = [job] if self.tasks == 1 else [job.task(place) for place in range(self.tasks)]
        if not all(task.paths.result_pickle.exists() for task in every):  # cancelled, or killed
            return noted(self.outcome, 1)
        try:
            return max(int(code) for code in job.results())
        except submitit.core.utils.UncompletedJobError:  # a task said so
            return noted(self.outcome, 1)

    def stop(self) -> None:
        """Ask it to save and leave, without being queued again."""
        subprocess.run(["scancel", "--signal=TERM", self.handle], check=False)
