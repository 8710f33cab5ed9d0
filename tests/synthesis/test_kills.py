"""Killed by kill -9 at twenty random moments, the same command ends with the same bytes; so does a replay."""

import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kalign import cli
from kalign.providers import Ledger
from tests.packs.conftest import filled
from tests.providers.server import Server, serving
from tests.synthesis import forks
from tests.synthesis.conftest import Models, words

KILLS = 20
CALM = "judge.canaries=false"  # sixty requests a judge that are like any others
FINAL = (
    "seeds.jsonl",
    "attacks.jsonl",
    "responses.jsonl",
    "judged.jsonl",
    "triplets.jsonl",
    "triplets.parquet",
    "README.md",
)


@dataclass(kw_only=True)
class Runs:
    """Pipelines of one pack on one server, each a fork of a process that has loaded everything."""

    process: "subprocess.Popen[str]"
    server: Server
    folder: Path
    words: tuple[str, ...]
    whole: dict[str, Any] = field(default_factory=dict)

    def run(self, out: Path, point: int = 0) -> dict[str, Any]:
        """Run into a folder, to a point or (0) to the end: exit code, points, requests that were lost."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps({"words": [*self.words, f"out={out}"], "point": point}) + "\n")
        self.process.stdin.flush()
        done: dict[str, Any] = json.loads(self.process.stdout.readline())
        return done


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """One uninterrupted run into `whole`, and a process that is ready for more."""
    folder = tmp_path_factory.mktemp("kills")
    isle = filled(folder / "isle", pairs=80)
    call = [sys.executable, "-m", forks.__name__]
    with serving(Models(pack=str(isle), weak=0.05, holds=0.3)) as server:
        named = (
            *words(server, folder, changed={"max_concurrency": 4}),
            f"pack={isle}",
            "size=3",
            "waves=2",
            CALM,
        )
        with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            made = Runs(process=process, server=server, folder=folder, words=named)
            made.whole = made.run(folder / "whole") | {"requests": server.requests}
            assert made.whole["code"] == 0
            yield made


def same(one: Path, other: Path) -> None:
    for name in FINAL:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_22_killed_at_twenty_random_moments_it_ends_with_the_same_bytes(runs: Runs) -> None:
    chance, moments, lost, finished = random.Random(22), 0, 0, 0
    runs.server.bodies.clear()
    out = runs.folder / "killed"
    while moments < KILLS:
        done = runs.run(out, chance.randint(1, runs.whole["points"] // 8))
        if done["code"] == 0:  # it was done before that point: begin anew, the twenty moments are not over
            same(out, runs.folder / "whole")
            shutil.rmtree(out)
            finished += 1
            continue
        assert done["code"] == -signal.SIGKILL
        moments, lost = moments + 1, lost + done["lost"]
        if (out / "ledger.sqlite").exists():
            with Ledger(out / "ledger.sqlite"):  # it is whole, and its lock went with the process
                pass
    assert runs.run(out)["code"] == 0
    same(out, runs.folder / "whole")
    # Nothing whose answer was in the ledger is asked, and paid, again
    assert runs.server.requests <= runs.whole["requests"] * (finished + 1) + lost


def test_the_ledger_alone_makes_the_same_files_without_a_network(runs: Runs, tmp_path: Path) -> None:
    asked = runs.server.requests
    (tmp_path / "out").mkdir()
    shutil.copy(runs.folder / "whole/ledger.sqlite", tmp_path / "out/ledger.sqlite")
    assert cli.run(["synth", *runs.words, f"out={tmp_path / 'out'}", "--offline"]) == 0
    same(tmp_path / "out", runs.folder / "whole")
    assert runs.server.requests == asked
    Path(tmp_path / "none").mkdir()
    assert cli.run(["synth", *runs.words, f"out={tmp_path / 'none'}", "--offline"]) == 3
