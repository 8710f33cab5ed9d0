"""Signals by which a cluster asks for its machine back: SIGTERM, and SIGUSR1 as Slurm's warning.

While a training can still save, a signal is noted and the training stops at the end of its step. Before and
after, nothing is lost by leaving at once, because a run can be killed anywhere.
"""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

from kalign.errors import Interrupted

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
OUTCOME = "KALIGN_OUTCOME"  # names a file for the exit code, which a launcher in between would turn into 1


class Notice:
    """Whether this process was asked to leave, and whether it may finish its step first."""

    def __init__(self) -> None:
        self.given: str | None = None  # the signal's name
        self.postponed = False
        self._process = os.getpid()

    @contextlib.contextmanager
    def until_saved(self) -> Iterator[None]:
        """Only note a signal: whoever trains looks at `given` at the end of each step."""
        self.postponed = True
        try:
            yield
        finally:
            self.postponed = False

    def hear(self, number: int, frame: FrameType | None) -> None:
        """Note a signal, or leave at once; a second signal changes nothing."""
        if os.getpid() != self._process:  # a forked data loader, which has nothing to save
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self.given = signal.Signals(number).name
        if not self.postponed:
            os.write(2, f"kalign: {self.given}: the same command goes on where this one stopped\n".encode())
            # No exception: it could be swallowed by whatever is being imported or loaded
            os._exit(Interrupted.exit_code)


@contextlib.contextmanager
def listening() -> Iterator[Notice]:
    """Listen to the signals; outside the main thread Python hears none, and nothing is changed."""
    notice = Notice()
    with _handled(notice.hear):
        yield notice


class Children:
    """Processes started one after another; a signal reaches the one that runs, and starts no other."""

    def __init__(self) -> None:
        self.given: str | None = None  # the name of the signal that asked this process to leave
        self._running: subprocess.Popen[bytes] | None = None

    def run(self, command: Sequence[str], **options: Any) -> int:
        """Run one to its end and return its exit code, or 75 without starting it when asked to stop."""
        if self.given:
            return Interrupted.exit_code
        with self.start(command, **options) as running:
            return running.wait()

    def start(self, command: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":
        """Start one, with options of subprocess.Popen; it hears what this process is told."""
        self._running = subprocess.Popen(command, **options)
        return self._running

    def pass_on(self, number: int, frame: FrameType | None) -> None:
        """Ask the process that runs to leave, by SIGTERM: a launcher in between would die of SIGUSR1."""
        self.given = signal.Signals(number).name
        if self._running and self._running.poll() is None:
            self._running.send_signal(signal.SIGTERM)


@contextlib.contextmanager
def passing_on() -> Iterator[Children]:
    """Start children that hear the signals which this process gets."""
    children = Children()
    with _handled(children.pass_on):
        yield children


@contextlib.contextmanager
def _handled(handler: "signal._HANDLER") -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [signal.signal(number, handler) for number in SIGNALS]
    try:
        yield
    finally:
        for number, old in zip(SIGNALS, before, strict=True):
            signal.signal(number, old)
