"""Trainings as forks of one process, which loads what they need once for all tests of a worker."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

Jobs = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    """Do jobs of tests.training.forks in the folder of the test; returns what became of each."""
    said = tmp_path_factory.mktemp("forks") / "stderr.txt"
    with (
        said.open("w") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "tests.training.forks"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        ) as forks,
    ):
        assert forks.stdin and forks.stdout

        def done(job: dict[str, Any]) -> dict[str, Any]:
            print(json.dumps(job | {"folder": str(Path.cwd())}), file=forks.stdin, flush=True)
            line = forks.stdout.readline()
            assert line, said.read_text(errors="replace")[-3000:]
            return dict(json.loads(line))

        yield lambda *wanted: [done(job) for job in wanted]
