"""The pipeline by vendors' batches: three models in OpenAI's form, three in Anthropic's."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Result
from tests.providers.server import Server, serving
from tests.providers.vendor import Vendor, selling
from tests.synthesis.conftest import FAMILIES, Models, read, words

Kalign = Callable[..., Result]
SMALL = ("size=5", "waves=1", "attack.tries=2", "judge.canaries=false")


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with selling(Models()) as running:
        yield running


def at(vendor: Vendor, folder: Path, **more: Any) -> tuple[str, ...]:
    """The words of a pipeline whose first three families are OpenAI's vendor, and the others Anthropic's."""
    forms = {family: "openai" if place < 3 else "anthropic" for place, family in enumerate(FAMILIES)}
    given = {family: {"base_url": vendor.address, "batch": form, **more} for family, form in forms.items()}
    return (*words(Server(port=0), folder, **given), *SMALL, "transport=batch", "poll_seconds=0.05")


def texts(out: Path) -> list[tuple[str, ...]]:
    return [
        (row["id"], row["prompt"], row["chosen"], row["rejected"]) for row in read(out / "triplets.jsonl")
    ]


def test_killed_while_batches_are_on_their_way_it_goes_on_without_submitting_twice(
    vendor: Vendor, tmp_path: Path, kalign_here: Kalign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VENDORS_KEY", "not-a-real-key")
    named = at(vendor, tmp_path, key_env="VENDORS_KEY")
    call = [sys.executable, "-m", "kalign", "synth", *named, "out=out"]
    process = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not vendor.batches and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    vendor.state = "completed"
    done = kalign_here("synth", *named, "out=out")
    assert done.returncode == 0, done.stderr
    assert "completed, " in done.stderr
    assert vendor.batches and vendor.messages and set(vendor.submitted.values()) == {1}
    assert not list(Path("out/batches").glob("*/batch-*.jsonl"))  # nothing waits any more
    keys = {headers.get("x-api-key") or headers["authorization"] for headers in vendor.headers}
    assert keys == {"not-a-real-key", "Bearer not-a-real-key"}
    assert "not-a-real-key" not in done.stderr + "".join(
        path.read_text(errors="replace") for path in Path("out").rglob("*.*") if path.is_file()
    )
    with serving(Models()) as server:  # asked one by one, the models say the same
        live = kalign_here("synth", *words(server, tmp_path), *SMALL, "out=live")
    assert live.returncode == 0, live.stderr
    assert texts(Path("out")) == texts(Path("live"))
    [half, whole] = (read(Path(name) / "triplets.jsonl")[0]["provenance"]["seed"] for name in ("out", "live"))
    assert half["key"] == whole["key"] and half["cost"] == pytest.approx(whole["cost"] / 2)


def test_a_budget_holds_for_batches_before_anything_is_submitted(
    vendor: Vendor, tmp_path: Path, kalign_here: Kalign
) -> None:
    vendor.state = "completed"
    refused = kalign_here("synth", *at(vendor, tmp_path), "budget=0.0001", "out=out")
    assert refused.returncode == 75 and "budget=0.0001 is reached" in refused.stderr
    part = kalign_here("synth", *at(vendor, tmp_path), "budget=0.0002", "out=out", "--shard", "0/2")
    assert part.returncode == 75 and "budget=0.0001 is reached" in part.stderr  # each of two has a half
    assert not vendor.submitted
