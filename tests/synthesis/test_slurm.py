"""Shards as a Slurm array, on a real Slurm of one node that these tests start themselves."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kalign.sweeps import arrays
from kalign.sweeps import slurm as slurm_options
from tests.conftest import ROOT, Result, write
from tests.providers.server import serving
from tests.synthesis.conftest import Models, read, words
from tests.training.test_slurm import cluster, pytestmark, slurm, wait_until

__all__ = ["cluster", "pytestmark"]
Kalign = Callable[..., Result]
LAUNCHER = "hydra/launcher=submitit_slurm"


@pytest.fixture(autouse=True)
def own_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.mark.usefixtures("cluster")
def test_an_array_is_found_again_by_the_same_command_which_joins_its_shards(
    tmp_path: Path, kalign_here: Kalign
) -> None:
    with serving(Models()) as server:
        named = [*words(server, tmp_path), "size=5", "waves=1", "out=out"]
        call = [sys.executable, "-m", "kalign", "synth", *named, "shards=2", LAUNCHER]
        first = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        wait_until(lambda: slurm("squeue", "-h", "-r", "-o", "%K"))
        first.send_signal(signal.SIGKILL)
        first.communicate()
        again = kalign_here("synth", *named, "shards=2", LAUNCHER)
        assert again.returncode == 0, again.stderr
        assert "are queued already" in again.stderr
        assert len(list(Path("out/jobs").glob("*_submitted.pkl"))) == 2
        parts = [read(path) for path in Path("out/shards").glob("*/seeds.jsonl")]
        assert len(parts) == 2 and all(parts)
        asked = server.requests
        assert kalign_here("synth", *named, "shards=2", LAUNCHER).returncode == 0  # nothing is left to queue
        assert server.requests == asked and not slurm("squeue", "-h")
        whole = kalign_here("synth", *named[:-1], "out=whole")
        assert whole.returncode == 0, whole.stderr
    for name in ("seeds.jsonl", "judged.jsonl", "triplets.jsonl"):
        assert (Path("out") / name).read_bytes() == (Path("whole") / name).read_bytes()


@pytest.mark.usefixtures("cluster")
def test_parts_of_a_corpus_are_tagged_as_an_array_and_joined(kalign_here: Kalign) -> None:
    write(Path("corpus.jsonl"), [{"prompt": f"{number}번째 설날 음식은?"} for number in range(30)])
    done = kalign_here("tag", "data.path=corpus.jsonl", "out=tags", "shards=2", LAUNCHER)
    assert done.returncode == 0, done.stderr
    assert "of 2 jobs is queued" in done.stderr
    assert kalign_here("tag", "data.path=corpus.jsonl", "out=here").returncode == 0
    assert (Path("tags/tags.parquet")).read_bytes() == Path("here/tags.parquet").read_bytes()


@pytest.mark.usefixtures("cluster")
def test_a_shard_that_fails_is_named_with_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    shards = [["show", "recipe=tiny"], ["show", "recipe=none-such"]]
    array = arrays.Array(words=shards, done=lambda shard: shard == 0, folder=Path("jobs"))
    assert arrays.run(array, slurm_options.DEFAULTS) == 2
    said = capsys.readouterr().err
    assert "of 1 jobs is queued" in said and "shard 1 ended with code 2; its words are in jobs" in said
