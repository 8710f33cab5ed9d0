"""Shards as a Slurm array, as far as no Slurm is needed; tests/synthesis/test_slurm.py runs them on one."""

from pathlib import Path

from kalign.sweeps.arrays import Array


def array(folder: str, shards: int = 2) -> Array:
    return Array(words=[["tag"]] * shards, done=lambda shard: False, folder=Path(folder))


def test_jobs_of_two_folders_of_one_name_are_not_taken_for_each_other() -> None:
    names = {array(folder).name for folder in ("a/tags/jobs", "b/tags/jobs")}
    assert len(names) == 2 and all(name.startswith("kalign-tags-2-") for name in names)
    assert array("a/tags/jobs").name in names
    assert array("a/tags/jobs", shards=3).name not in names
