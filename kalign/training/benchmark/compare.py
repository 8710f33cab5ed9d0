"""One run of the benchmark: all workloads of a tier, the document, the table and the page."""

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from statistics import quantiles
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from kalign import files, runs
from kalign.errors import ConfigError
from kalign.training import arguments
from kalign.training.benchmark import elsewhere
from kalign.training.benchmark.arms import ARMS, EVERY
from kalign.training.benchmark.measure import Bench, Measured, operations
from kalign.training.benchmark.page import page
from kalign.training.benchmark.workloads import TIERS, Workload

PEAK_FLOPS = 989e12  # of an H100 or H200 SXM in bfloat16, dense
SWEPT = ("trl_defaults", "trl_precomputed", "kalign")
DEALT = ("trl_precomputed", "kalign", "kalign_by_tokens")
EPOCH_PAIRS = 10_000  # that a time to finish is told for
ROUNDS = {"cpu": 2, "gpu": 2}
STEPS = {"cpu": (1, 0), "gpu": (20, 5)}  # timed, and before them to warm up


def run(tier: str, out: Path, console: Console, *, llamafactory: str | None = None) -> dict[str, Any]:
    """Time every arm on every workload of a tier; write `out` and beside it a page with the plots.

    Args:
        llamafactory: the Python of an environment that holds LLaMA-Factory; without one, its arm is skipped.

    Raises:
        ConfigError: there is no such tier, or no device for it.
        NumericError: an arm computes something else than TRL.
    """
    if tier not in TIERS:
        raise ConfigError(f"tier={tier} is unknown; use one of {', '.join(TIERS)}")
    if tier == "gpu" and not torch.cuda.is_available():
        raise ConfigError("tier=gpu needs a GPU, and none is here; use tier=cpu")
    arguments.calm()
    skipped = {elsewhere.NAME: reason} if (reason := elsewhere.why_not(llamafactory)) else {}
    python = None if skipped else llamafactory
    device = torch.device("cuda" if tier == "gpu" else "cpu")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        measured = [timed(one, tier, device, console, python=python) for one in TIERS[tier]]
    finally:
        torch.set_num_threads(threads)
    main = measured[0]
    document = {
        "tier": tier,
        "made_on": date.today().isoformat(),
        "machine": machine(device),
        "versions": runs.versions(),
        "git_commit": runs.git_commit(),
        "ratios": main["ratios"],
        "arms": main["arms"],
        "skipped": skipped,
        "workloads": measured,
    }
    files.write_json(out, document)
    with files.atomic(out.with_suffix(".html")) as partial:
        partial.write_text(page(document), encoding="utf-8")
    say(document, console)
    console.print(f"Document: {out} · page: {out.with_suffix('.html')}", soft_wrap=True)
    return document


def timed(
    workload: Workload, tier: str, device: torch.device, console: Console, *, python: str | None = None
) -> dict[str, Any]:
    """What was measured of one workload; LLaMA-Factory takes part where the Python of its environment is
    given, and no sweep."""
    names = SWEPT if workload.sweep else DEALT if workload.window else tuple(ARMS)
    if python is not None and names == tuple(ARMS):
        names = (*names, elsewhere.NAME)
    steps, warm_up = STEPS[tier]
    bench = Bench(workload, names, device=device, python=python)
    seen = bench.run(
        rounds=ROUNDS[tier],
        steps=steps,
        warm_up=warm_up,
        say=lambda said: console.print(said, style="dim"),
    )
    trainable = 16 * _adapted(workload)
    return {
        "workload": workload.as_dict(),
        "ratios": ratios(seen),
        "arms": [_told(name, one, workload, trainable, tier) for name, one in seen.items()],
    }


def ratios(seen: Mapping[str, Measured]) -> dict[str, float]:
    """How many times faster kalign's step is."""
    own = seen["kalign"].step
    return {f"vs_{name}": round(one.step / own, 3) for name, one in seen.items() if name != "kalign"}


def machine(device: torch.device) -> dict[str, Any]:
    """What was timed on."""
    if device.type == "cuda":
        return {
            "device": torch.cuda.get_device_name(),
            "memory_gib": _gib(torch.cuda.get_device_properties(0)),
        }
    model = [line for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")]
    return {
        "device": model[0].partition(":")[2].strip() if model else platform.processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": 1,
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "clock": "processor time",
    }


def say(document: Mapping[str, Any], console: Console) -> None:
    """The table of every workload."""
    for entry in document["workloads"]:
        table = Table(title=entry["workload"]["name"], title_justify="left")
        for column in ("arm", "s a step", "pairs/s", "tokens run", "peak MiB", "kalign is"):
            table.add_column(column, justify="left" if column == "arm" else "right")
        for arm in entry["arms"]:
            table.add_row(
                arm["name"],
                f"{arm['seconds_per_step']:.3f}",
                f"{arm['pairs_per_second']:.3f}",
                f"{arm['executed_tokens']:,}",
                f"{arm['peak_mib']:,.0f}",
                f"{entry['ratios'].get('vs_' + arm['name'], 1.0):.2f}x",
            )
        if not entry["workload"]["sweep"] and not entry["workload"]["window"]:
            for name in document["skipped"]:
                table.add_row(name, "skipped", *[""] * 4)
        console.print(table)
    for name, reason in document["skipped"].items():
        console.print(f"{name} was skipped: {reason}", soft_wrap=True)


def _told(name: str, seen: Measured, workload: Workload, trainable: int, tier: str) -> dict[str, Any]:
    arm, step = EVERY[name], seen.step
    pairs = [pair for rows in workload.steps()[0] for pair in rows]
    unshared = sum(2 * len(p["prompt_ids"]) + len(p["chosen_ids"]) + len(p["rejected_ids"]) for p in pairs)
    needed, done = operations(arm, workload, trainable)
    low, _, high = quantiles(seen.seconds, n=4) if len(seen.seconds) > 1 else (step, step, step)
    ahead = min(seen.reference_seconds, default=0.0)
    return {
        "name": name,
        "about": arm.about,
        "seconds_per_step": round(step, 4),
        "quartiles": [round(low, 4), round(high, 4)],
        "steps": len(seen.seconds),
        "pairs_per_second": round(len(pairs) / step, 4),
        "unshared_tokens_per_second": round(unshared / step, 1),
        "executed_tokens": seen.executed,
        "peak_mib": round(seen.peak_bytes / 2**20, 1),
        "operations": needed,
        "lora_mfu": round(needed / PEAK_FLOPS / step, 4) if tier == "gpu" else None,
        "hfu": round(done / PEAK_FLOPS / step, 4) if tier == "gpu" else None,
        "parity": {"loss": seen.loss, "furthest_logp": seen.furthest},
        "hours": _hours(name, step, ahead, len(pairs)),
    }


def _hours(name: str, step: float, ahead: float, pairs: int) -> dict[str, float]:
    """To finish a training of `EPOCH_PAIRS` pairs; a second run finds the store filled, TRL's does not."""
    batches = EPOCH_PAIRS / pairs / 3600
    first = ahead * batches if EVERY[name].stored else 0.0
    again = 0.0 if name.startswith("kalign") else first
    return {
        "one_epoch": round(first + step * batches, 3),
        "three_epochs": round(first + 3 * step * batches, 3),
        "second_run_of_one_epoch": round(again + step * batches, 3),
    }


def _adapted(workload: Workload) -> int:
    """Inputs and outputs of all adapted matrices, added up: the adapter's weights a rank."""
    wide, narrow = workload.hidden, workload.hidden * workload.key_heads // workload.heads
    sides: Sequence[tuple[int, int]] = (
        (wide, wide),
        (wide, wide),
        (wide, narrow),
        (wide, narrow),
        *(((wide, workload.intermediate),) * 3),
    )
    return workload.layers * sum(map(sum, sides))


def _gib(properties: Any) -> float:
    return float(round(properties.total_memory / 2**30, 1))


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
