"""What the tests of exports share: trained runs, each made once, and one process that proves."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kalign.export.prover import Prover
from tests.conftest import only_run, pair, write
from tests.training.test_families import SHORT

Trained = Callable[..., Path]


@pytest.fixture(scope="session")
def prover() -> Iterator[Prover]:
    """The process that proves; it forks itself for each export, so one start is enough."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # for models this small, a second thread only waits
        with Prover() as running:
            yield running


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The run that some words describe, trained once: trained("qwen", *LORA)."""
    from kalign import cli

    root = tmp_path_factory.mktemp("trained")
    write(root / "few.jsonl", [pair(number) for number in range(10)])
    known: dict[tuple[str, ...], Path] = {}

    def run(family: str, *words: str) -> Path:
        key = (family, *words)
        if key not in known:
            runs = root / str(len(known))
            data = [f"data.path={root / 'few.jsonl'}", f"runs_dir={runs}"]
            assert cli.run(["train", f"recipe={family}", *SHORT, *data, *words]) == 0
            known[key] = only_run(runs)
        return known[key]

    return run
