from collections.abc import Callable

import pytest

from kalign.sweeps import slurm
from tests.conftest import Result

LAUNCHER = "hydra/launcher=submitit_slurm"
REFUSED = {
    "hydra/launcher=submitit_slrm -m loss.beta=0.1,0.2": "did you mean submitit_slurm?",
    "hydra.launcher.nodes=2 -m loss.beta=0.1,0.2": "add hydra/launcher=submitit_slurm",
    f"{LAUNCHER} -m hydra.launcher.partitio=gpu": "did you mean partition?",
    f"{LAUNCHER} -m hydra.launcher.nodes=two": "write hydra.launcher.nodes=NUMBER",
    f"{LAUNCHER} loss.beta=0.1": "add -m",
    f"{LAUNCHER} -m loss.beta=0.1,0.2 launch=ddp": "leave launch= and ranks= away",
}


@pytest.mark.parametrize("words", REFUSED)
def test_a_launcher_that_cannot_be_is_refused_in_a_sentence(
    words: str, kalign_here: Callable[..., Result]
) -> None:
    refused = kalign_here("train", "recipe=tiny", *words.split())
    assert refused.returncode == 2
    assert REFUSED[words] in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("synth providers=local shards=2", "shards=N and hydra/launcher=submitit_slurm go together"),
        (f"tag data.path=x.jsonl {LAUNCHER}", "go together"),
        (f"synth providers=local shards=0 {LAUNCHER}", "shards=0 must be at least 1"),
        (f"synth seeds providers=local shards=2 {LAUNCHER}", "leave STAGE, --shard and --offline away"),
        (f"tag data.path=x.jsonl shards=2 {LAUNCHER} hydra.launcher.nodes=2", "a shard is one process"),
    ],
)
def test_an_array_that_cannot_be_is_refused_in_a_sentence(
    words: str, said: str, kalign_here: Callable[..., Result]
) -> None:
    refused = kalign_here(*words.split())
    assert refused.returncode == 2
    assert said in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_options_go_to_the_launcher_and_settings_to_the_recipe() -> None:
    words = ["recipe=tiny", LAUNCHER, "hydra.launcher.tasks_per_node=2", "hydra.launcher.partition=gpu"]
    options, rest = slurm.taken(words)
    assert rest == ["recipe=tiny"]
    assert options == {**slurm.DEFAULTS, "tasks_per_node": 2, "partition": "gpu"}
    assert slurm.taken(["recipe=tiny"]) == (None, ["recipe=tiny"])


def test_a_step_that_the_tasks_cannot_share_is_refused_before_anything_is_queued(
    kalign_here: Callable[..., Result],
) -> None:
    words = ["recipe=tiny", LAUNCHER, "hydra.launcher.tasks_per_node=3"]
    for command in (["train", "-m", "loss.beta=0.1,0.2"], ["sweep", "adapter.r=choice(8,16)"]):
        refused = kalign_here(*command, *words)
        assert (refused.returncode, "no multiple of 24" in refused.stderr) == (2, True), refused.stderr


def test_the_names_are_those_that_submitit_takes() -> None:
    from submitit.slurm.slurm import SlurmExecutor

    known = SlurmExecutor._valid_parameters() | set(SlurmExecutor._equivalence_dict() or {})
    assert set(slurm.OPTIONS) <= known
