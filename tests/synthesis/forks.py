"""Pipelines that kill themselves at one exact point: `python -m tests.synthesis.forks`, one job a line.

A job is {"words": [...], "point": N}; the Nth point of a run is the Nth time that a file is opened to be
written, renamed or removed, a request is sent or its reply is there, or answers are written into the ledger
or have been. kalign is loaded once, and each job is a fork. For each one a line comes back: its exit code,
how many points it passed, and how many requests it had sent whose answers were not in the ledger yet.
"""

import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from kalign import cli
from kalign.providers import client, ledger
from kalign.synthesis import pipeline

FILE_EVENTS = ("open", "os.rename", "os.remove", "os.mkdir")


class Points:
    """Counts what happens in one process, and ends it at the point that was asked for."""

    def __init__(self, wanted: int, report: int) -> None:
        self.wanted, self.report = wanted, report
        self.passed = self.sent = self.kept = 0

    def reached(self) -> None:
        self.passed += 1
        if self.passed == self.wanted:
            self.tell()
            os.kill(os.getpid(), signal.SIGKILL)

    def tell(self) -> None:
        said = {"points": self.passed, "lost": self.sent - self.kept}
        os.write(self.report, json.dumps(said).encode())

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in FILE_EVENTS:
            return
        changes = event != "open" or (
            isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if changes:
            self.reached()

    def watch(self) -> None:
        points, send, keep = self, client.Client.send, ledger.Ledger.keep

        async def sending(*arguments: Any) -> Any:
            points.sent += 1
            points.reached()
            reply = await send(*arguments)
            points.reached()
            return reply

        def keeping(self: ledger.Ledger, answers: Sequence[Any], *others: Any) -> None:
            points.reached()
            keep(self, answers, *others)
            points.kept += len(answers)
            points.reached()

        client.Client.send = sending  # type: ignore[method-assign]
        ledger.Ledger.keep = keeping  # type: ignore[method-assign]
        sys.addaudithook(self.heard)


def run(job: dict[str, Any]) -> dict[str, Any]:
    """One job in a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        points = Points(job["point"], writing)
        points.watch()
        code = cli.run(["synth", *job["words"]])
        points.wanted = 0
        points.tell()
        os._exit(code)
    os.close(writing)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with os.fdopen(reading, "rb") as said:
        return {"code": code, **json.loads(said.read())}


def main() -> None:
    """Do the jobs, one after another."""
    assert pipeline.run  # everything that a pipeline needs is loaded before the first fork
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
