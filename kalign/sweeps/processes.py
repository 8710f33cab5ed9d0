"""Trainings of a sweep on this machine: one at a time, each in processes of its own, on all local devices."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from kalign import locks
from kalign.errors import Interrupted
from kalign.preemption import OUTCOME, Children
from kalign.runs import Run


class Training(Protocol):
    """A training that was started, wherever it runs."""

    handle: str  # by which another process finds it again; empty where nothing but its run folder does

    def code(self) -> int | None:
        """Its exit code once it is over."""

    def stop(self) -> None:
        """Ask it to save and leave."""


class Starter(Protocol):
    """Where the trainings of a sweep run."""

    at_once: int
    """How many may run at the same time."""

    def start(self, words: Sequence[str], run: Run, log: Path, handle: str = "") -> Training:
        """Start one, or find the one again that `handle` names; what it says goes into the file `log`."""

    def stopped(self) -> bool:
        """Whether this process was asked to leave, so that no further training begins."""


class Local:
    """One training after another on this machine.

    Args:
        launch: the words that say on which devices.
    """

    at_once = 1

    def __init__(self, children: Children, launch: Sequence[str]) -> None:
        self.children = children
        self.launch = launch

    def start(self, words: Sequence[str], run: Run, log: Path, handle: str = "") -> "Training":
        """Start one as soon as nobody else holds its run."""
        return _LocalTraining(self.children, ["train", *words, *self.launch], run, log)

    def stopped(self) -> bool:
        """Whether a signal came."""
        return self.children.given is not None


class _LocalTraining:
    handle = ""

    def __init__(self, children: Children, words: list[str], run: Run, log: Path) -> None:
        self.children = children
        self.words = words
        self.run = run
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    def code(self) -> int | None:
        if self.process is None:
            self._begin()
            return Interrupted.exit_code if self.children.given and self.process is None else None
        code = self.process.poll()
        return code if code in (None, 0) else noted(self.log, code)

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def _begin(self) -> None:
        """Start it, unless a training that outlived its sweep still works in the run's folder."""
        if self.children.given or locks.is_held(self.run.lock):
            return
        self.process = started(self.children, self.words, self.log)


def started(children: Children, words: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    """Start a command of kalign in a process of its own, which adds what it says to the file `log`."""
    outcome = _outcome(log)
    outcome.unlink(missing_ok=True)
    command = [sys.executable, "-m", "kalign", *words]
    with log.open("ab") as said:
        return children.start(command, stdout=said, stderr=said, env=os.environ | {OUTCOME: str(outcome)})


def noted(log: Path, otherwise: int) -> int:
    """The exit code that a started command wrote down, which a launcher in between does not hand on."""
    outcome = _outcome(log)
    return int(outcome.read_text(encoding="utf-8")) if outcome.exists() else otherwise


def last_said(log: Path, before: int = 0) -> str:
    """What a command said last, behind the first `before` bytes of its log, which earlier attempts said."""
    lines = log.read_bytes()[before:].decode(errors="replace").splitlines() if log.exists() else []
    said = [line for line in lines if line.startswith("kalign: ")] or lines
    return said[-1].removeprefix("kalign: ") if said else "it said nothing"


def _outcome(log: Path) -> Path:
    return log.with_suffix(".code")
