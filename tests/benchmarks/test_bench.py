"""Speed as ratios on one thread: the arms of one run, on the same weights and pairs, in turns."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from kalign.errors import NumericError
from kalign.training import head
from kalign.training.benchmark import arms, elsewhere, llamafactory_arm, measure, workloads
from kalign.training.benchmark import compare as benchmark
from kalign.training.benchmark.compare import timed
from kalign.training.benchmark.page import page
from kalign.training.micro_batches import tokens_of
from tests.conftest import Result

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = replace(
    workloads.SMALL,
    name="tiny",
    hidden=128,
    layers=3,
    heads=4,
    key_heads=2,
    intermediate=352,
    vocabulary=4096,
    prompt=(200, 200),
    answer=(60, 60),
)
CPU = torch.device("cpu")
RESULTS = Path(__file__).parent / "results"
QUIET = Console(quiet=True)


@pytest.mark.slow
def test_gate_a_step_is_much_faster_than_trls() -> None:
    """More than 5 and 3.5 are usual for this shape; so much less means that a feature is lost."""
    entry = timed(replace(TINY, sweep="gate"), "cpu", CPU, QUIET)
    assert entry["ratios"]["vs_trl_defaults"] > 2.8
    assert entry["ratios"]["vs_trl_precomputed"] > 2.0
    stock, precomputed, ours = entry["arms"]
    [rows] = TINY.batches()
    assert ours["executed_tokens"] == sum(sum(map(len, row.values())) - 1 for row in rows)
    assert stock["executed_tokens"] == 2 * precomputed["executed_tokens"]
    assert ours["peak_mib"] < precomputed["peak_mib"]
    assert ours["parity"]["loss"] == pytest.approx(precomputed["parity"]["loss"], abs=1e-5)
    assert ours["operations"] < precomputed["operations"] < stock["operations"]
    assert ours["hours"]["second_run_of_one_epoch"] < ours["hours"]["one_epoch"]


def test_an_arm_that_computes_something_else_is_never_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(TINY, hidden=32, layers=1, intermediate=64, vocabulary=300, prompt=(9, 9), answer=(5, 5))
    real = head._Tile.__init__

    def wrong(self: Any, hidden: Any, *rest: Any) -> None:
        real(self, hidden * 1.01, *rest)

    monkeypatch.setattr(head._Tile, "__init__", wrong)
    bench = measure.Bench(small, ["trl_precomputed", "kalign"], device=CPU)
    with pytest.raises(NumericError, match="kalign is .* nats off trl_precomputed, so it is no arm"):
        bench.run(rounds=1, steps=1, warm_up=0, say=lambda _: None)


def test_a_step_dealt_by_tokens_is_the_same_step_in_no_larger_micro_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(benchmark.ROUNDS, "cpu", 1)
    window = replace(
        TINY,
        hidden=32,
        layers=1,
        intermediate=64,
        vocabulary=300,
        prompt=(2, 60),
        answer=(2, 40),
        micro_batches=6,
        window=True,
    )
    entry = timed(window, "cpu", CPU, QUIET)
    stock, ours, dealt = entry["arms"]
    assert (stock["name"], dealt["name"]) == ("trl_precomputed", "kalign_by_tokens")
    for arm in (stock, dealt):
        assert arm["parity"]["loss"] == pytest.approx(ours["parity"]["loss"], abs=1e-5)
    assert dealt["executed_tokens"] == ours["executed_tokens"] < stock["executed_tokens"]
    [step] = window.steps()
    again = arms._by_tokens(step)
    sizes = [[sum(map(tokens_of, rows)) for rows in micro_batches] for micro_batches in (again, step)]
    assert len(again) <= len(step) == 6 and max(sizes[0]) <= max(sizes[1])
    assert min(sizes[0]) > min(sizes[1])  # it is balanced
    assert ours["pairs_per_second"] == pytest.approx(12 / ours["seconds_per_step"], rel=0.1)


def test_the_command_writes_document_and_page(
    kalign_here: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(TINY, hidden=32, layers=1, intermediate=64, vocabulary=300, prompt=(9, 9), answer=(5, 5))
    swept = [replace(small, name=f"prompt {n}", sweep="prompt", prompt=(n, n)) for n in (5, 9)]
    monkeypatch.setitem(workloads.TIERS, "cpu", (small, *swept))
    done = kalign_here("bench", "out=speed.json")
    assert done.returncode == 0, done.stderr
    document = json.loads(Path("speed.json").read_text(encoding="utf-8"))
    assert {"vs_trl_defaults", "vs_trl_precomputed"} <= document["ratios"].keys()
    assert [arm["name"] for arm in document["arms"]] == list(benchmark.ARMS)
    assert document["machine"]["threads"] == 1 and document["versions"]["trl"]
    [(absent, reason)] = document["skipped"].items()
    assert absent == "llamafactory" and "give llamafactory=PATH/bin/python" in reason
    assert "llamafactory was skipped: LLaMA-Factory's pins" in done.stdout + done.stderr
    for shown in ("trl_defaults", "kalign_without_store", "By prompt", "polyline", "Not timed"):
        assert shown in Path("speed.html").read_text(encoding="utf-8")
    refused = kalign_here("bench", "tier=tpu")
    assert (refused.returncode, "tier=tpu is unknown" in refused.stderr) == (2, True)
    if not torch.cuda.is_available():
        assert "needs a GPU" in kalign_here("bench", "tier=gpu").stderr


def test_a_python_without_llamafactory_is_no_arm_and_says_why() -> None:
    assert "llamafactory=/nowhere cannot be run" in str(elsewhere.why_not("/nowhere"))
    assert "No module named 'llamafactory'" in str(elsewhere.why_not(sys.executable))


def test_what_llamafactory_says_is_measured_against_the_first_arms_log_probs() -> None:
    known = torch.tensor([[0.0, -2.0, -3.0], [0.0, 0.0, -4.0]])
    told = elsewhere.Told(logps=[-5.0, -4.0], executed=0, peak_bytes=0, loss=0.0, seconds=[], versions={})
    assert elsewhere.furthest(told, known, share=2e-6, nats=1e-6) == (0.0, True)
    other = replace(told, logps=[-5.0, -4.5])
    assert elsewhere.furthest(other, known, share=2e-6, nats=1e-6) == (0.5, False)
    rows = [{"prompt_ids": [1, 2], "chosen_ids": [3], "rejected_ids": [4, 5]}]
    batch = llamafactory_arm.collated(rows, "cpu")
    assert batch["input_ids"].tolist() == [[1, 2, 3, 0, 0, 0, 0, 0], [1, 2, 4, 5, 0, 0, 0, 0]]
    assert (batch["labels"] != -100).sum(dim=1).tolist() == [1, 2]


@pytest.mark.slow
@pytest.mark.skipif("LLAMAFACTORY_PYTHON" not in os.environ, reason="needs an environment that holds it")
def test_llamafactory_computes_the_same_and_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(benchmark.ROUNDS, "cpu", 1)
    entry = timed(TINY, "cpu", CPU, QUIET, python=os.environ["LLAMAFACTORY_PYTHON"])
    arms_by_name = {arm["name"]: arm for arm in entry["arms"]}
    theirs, stock = arms_by_name["llamafactory"], arms_by_name["trl_defaults"]
    assert theirs["parity"]["loss"] == pytest.approx(stock["parity"]["loss"], abs=1e-5)
    assert theirs["steps"] == 2 and theirs["executed_tokens"] > stock["executed_tokens"]
    assert entry["ratios"]["vs_llamafactory"] > 1.5


@pytest.mark.parametrize("path", sorted(RESULTS.glob("[cg]pu*.json")), ids=lambda p: p.stem)
def test_recorded_results_show_what_is_promised(path: Path) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["machine"]["device"] and document["versions"]["torch"] and page(document)
    eight, thirty_two = document["workloads"][:2]
    assert eight["ratios"]["vs_trl_defaults"] >= 2.8
    assert eight["ratios"]["vs_trl_precomputed"] >= 2.2
    assert thirty_two["ratios"]["vs_trl_defaults"] >= 5


def test_the_recorded_pipeline_takes_little_more_memory_for_five_times_the_triplets() -> None:
    few, many = json.loads((RESULTS / "pipeline.json").read_text(encoding="utf-8"))["runs"]
    for part in ("asked", "replayed"):
        assert many[part]["triplets"] == 5 * few[part]["triplets"]
        assert many[part]["peak_mb"] < 1.15 * few[part]["peak_mb"]


@pytest.mark.gpu
@pytest.mark.slow
def test_gate_on_a_gpu_of_eight_billion_weights() -> None:
    entry = timed(workloads.EIGHT_BILLION, "gpu", torch.device("cuda"), QUIET)
    arms = {arm["name"]: arm for arm in entry["arms"]}
    assert entry["ratios"]["vs_trl_defaults"] >= 4
    assert entry["ratios"]["vs_trl_precomputed"] >= 1.6
    assert arms["kalign"]["lora_mfu"] >= 0.4
    assert arms["kalign"]["peak_mib"] < arms["trl_precomputed"]["peak_mib"]
