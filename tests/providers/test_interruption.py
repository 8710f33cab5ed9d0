"""Killed and stopped in the middle, as processes of their own: nothing is lost, asked twice or different."""

import hashlib
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from kalign.errors import Interrupted
from kalign.providers import Ledger
from tests.providers import interrupted
from tests.providers.server import Reply, Server, says, serving

COUNT = 60
AT_ONCE = 8  # of the process that is interrupted


def slowly(body: object, number: int) -> Reply:
    text = str(body["messages"][-1]["content"])  # type: ignore[index]
    digest = hashlib.sha256(text.encode()).hexdigest()
    return says(digest, wait=0.02 + int(digest[0], 16) / 400)


def start(server: Server, folder: Path, count: int = COUNT) -> "subprocess.Popen[str]":
    words = [str(server.port), str(count), str(folder / "ledger.sqlite"), str(folder / "out.jsonl")]
    return subprocess.Popen(
        [sys.executable, interrupted.__file__, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> None:
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said


def acknowledged(process: "subprocess.Popen[str]", wanted: int) -> int:
    """Wait until the process has given so many answers."""
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= wanted:
            return int(line)
    return 0


def questions_of(server: Server) -> Counter[str]:
    return Counter(body["messages"][-1]["content"] for body in server.bodies)


def test_22_killed_again_and_again_it_loses_nothing_and_ends_with_the_same_file(tmp_path: Path) -> None:
    chance = random.Random(8)
    with serving(slowly) as server:
        whole = tmp_path / "whole"
        finish(start(server, whole))
        uninterrupted = server.requests
        assert uninterrupted == COUNT
        server.bodies.clear()
        folder, kills = tmp_path / "killed", 0
        for wanted in (1, 15, 30, 45):
            process = start(server, folder)
            given = acknowledged(process, wanted)
            time.sleep(chance.random() / 20)
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=10)
            kills += 1
            with Ledger(folder / "ledger.sqlite") as ledger:  # the lock went with the process
                assert sum(ledger.counts().values()) >= given >= wanted
        finish(start(server, folder))
    assert (folder / "out.jsonl").read_bytes() == (whole / "out.jsonl").read_bytes()
    asked = questions_of(server)
    assert len(asked) == COUNT
    # What was on the way when it was killed: to the server, or from there to the disk
    assert server.requests <= uninterrupted + kills * 2 * AT_ONCE


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_23_asked_once_to_stop_it_brings_in_what_is_on_the_way(tmp_path: Path, asked: signal.Signals) -> None:
    with serving(slowly) as server:
        process = start(server, tmp_path, count=5000)
        acknowledged(process, 10)
        process.send_signal(asked)
        began = time.monotonic()
        _, said = process.communicate(timeout=20)
        assert process.returncode == Interrupted.exit_code
        assert said.startswith(f"{asked.name}: every answer so far is kept; run the same command again")
        assert time.monotonic() - began < 10
        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            assert sum(ledger.counts().values()) == server.requests


def test_23_asked_twice_it_leaves_at_once_with_a_whole_ledger(tmp_path: Path) -> None:
    with serving(lambda body, number: says("네") if number < 20 else says("네", wait=60)) as server:
        process = start(server, tmp_path)
        acknowledged(process, 20)
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None  # it waits for what is on the way
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
        assert process.returncode == Interrupted.exit_code
        assert time.monotonic() - began < 3
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert sum(ledger.counts().values()) == 20
