"""A study of one seed on the bundled cultures, made once: its runs are what evaluations are tried on too."""

import json
from pathlib import Path
from typing import Any

import pytest

from kalign import cli

RANK = """# kalign train recipe=short_rank.yaml
# Four steps of the ranking recipe.
defaults: [tiny_align_rank, _self_]
name: short_rank
trainer: {max_steps: 4, pairs_per_step: 32, per_device_train_batch_size: 32}
"""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that has run."""
    import torch

    folder = tmp_path_factory.mktemp("study")
    (folder / "short_rank.yaml").write_text(RANK, encoding="utf-8")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on so small a model, two only wait for each other
    try:
        assert cli.run(words(folder)) == 0
    finally:
        torch.set_num_threads(threads)
    return folder


def words(folder: Path) -> list[str]:
    """The command of the study."""
    places = [f"runs_dir={folder / 'runs'}", f"out={folder / 'out'}", f"rank={folder / 'short_rank.yaml'}"]
    return ["study", "align", "seeds=1", "chain=false", *places]


@pytest.fixture(scope="session")
def document(folder: Path) -> dict[str, Any]:
    """What the study found."""
    return dict(json.loads((folder / "out" / "study.json").read_text(encoding="utf-8")))
