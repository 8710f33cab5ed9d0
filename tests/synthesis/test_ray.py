"""The pipeline and the tagger by actors of a real Ray on this machine."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kalign.providers import rays
from tests.conftest import Result, write
from tests.markers.test_models import GOOD
from tests.providers.server import says, serving
from tests.synthesis.conftest import Models, read, words

pytest.importorskip("ray", reason="needs the extra ray: pip install kalign[ray]")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray leaves pipes to the processes it started
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),  # it warns of settings that it makes itself
]
Kalign = Callable[..., Result]


@pytest.fixture(scope="module", autouse=True)
def ray_of_this_machine() -> Iterator[None]:
    """One for all tests, because it starts slowly."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(num_cpus=16, include_dashboard=False, log_to_driver=False, configure_logging=False)
        yield
        ray.shutdown()


def test_actors_answer_the_rows_of_a_stage_as_the_engine_does(
    tmp_path: Path, kalign_here: Kalign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rays, "ROLES", 2)  # a stage asks more models, which make room for each other
    small = ("size=3", "waves=1", "seeds.surplus=2", "attack.tries=1", "attack.samples=1")
    with serving(Models(weak=0)) as server:
        named = [*words(server, tmp_path), *small, f"providers={tmp_path / 'ga.yaml'}"]
        del named[1]  # six models
        for stage in ("seeds", "attack"):
            by_ray = ("transport=ray", "ray.actors=2", "ray.rows=2", "out=out")
            done = kalign_here("synth", stage, *named, *by_ray)
            assert done.returncode == 0, done.stderr
        asked = server.requests
        for stage in ("seeds", "attack"):
            assert kalign_here("synth", stage, *named, "transport=ray", "out=out").returncode == 0
        assert server.requests == asked  # everything is in the ledger
        for stage in ("seeds", "attack"):
            assert kalign_here("synth", stage, *named, "out=live").returncode == 0
    for name in ("seeds.jsonl", "attacks.jsonl"):
        assert len(read(Path("out") / name)) >= 3
        assert read(Path("out") / name) == read(Path("live") / name)


def test_more_gpus_than_there_are_is_said(tmp_path: Path, kalign_here: Kalign) -> None:
    with serving(lambda body, number: says(json.dumps(GOOD))) as server:
        words(server, tmp_path)
        write(Path("corpus.jsonl"), [{"prompt": "kimchi"}])
        call = ("tag", "data.path=corpus.jsonl", "tagger=ga.yaml", "transport=ray", "out=tags")
        refused = kalign_here(*call, "ray.gpus=1")
    assert refused.returncode == 2 and "need 2 GPUs, and Ray finds 0 here" in refused.stderr


def test_a_model_behind_actors_tags_a_corpus(tmp_path: Path, kalign_here: Kalign) -> None:
    write(Path("corpus.jsonl"), [{"prompt": f"kimchi {number}"} for number in range(9)])
    with serving(lambda body, number: says(json.dumps(GOOD))) as server:
        words(server, tmp_path)
        call = ("tag", "data.path=corpus.jsonl", "tagger=ga.yaml", "transport=ray", "ray.rows=3", "out=tags")
        done = kalign_here(*call, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["statuses"] == {"ok": 9}
        assert server.requests == 9
