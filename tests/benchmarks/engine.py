"""How close the engine comes to the ideal: python -m tests.benchmarks.engine [REQUESTS] [AT_ONCE] [ITEMS]

Ratio 1: AT_ONCE requests are on the way at every moment, against a server in a process of its own that
answers each after 200 ms. Then a ledger of ITEMS answers is gone on from. Prints one JSON document.
"""

import json
import multiprocessing
import resource
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from kalign.providers import Answer, Engine, Ledger, Provider, Status
from tests.providers.conftest import question
from tests.providers.server import always, says, serving

LATENCY = 0.2  # seconds
TEXT = "이것은 서버가 돌려주는 답변입니다. " * 20


def serve(line: Connection) -> None:
    with serving(always(says(TEXT, wait=LATENCY, tokens=(200, 300)))) as server:
        line.send(server.port)
        line.recv()


def throughput(folder: Path, requests: int, at_once: int) -> dict[str, Any]:
    here, there = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    process.start()
    provider = Provider(
        name="stub",
        model="stub-1",
        base_url=f"http://127.0.0.1:{here.recv()}/v1",
        max_concurrency=at_once,
        other_model="accept",
    )
    with Engine(folder / "throughput.sqlite") as engine:
        # The lane opens with one request, and connections are made
        list(engine.answers(question(provider, -number) for number in range(1, 2 * at_once)))
        began, busy = time.monotonic(), time.process_time()
        assert sum(answer.ok for answer in engine.answers(question(provider, n) for n in range(requests)))
        seconds, busy = time.monotonic() - began, time.process_time() - busy
    here.send("end")
    process.join()
    return {
        "requests": requests,
        "at_once": at_once,
        "per_second": round(requests / seconds),
        "ratio_to_ideal": round(requests / at_once * LATENCY / seconds, 3),
        "processor_ms_per_request": round(busy / requests * 1e3, 3),
    }


def resumption(folder: Path, items: int) -> dict[str, Any]:
    provider = Provider(name="stub", model="stub-1", base_url="http://127.0.0.1:9/v1")
    with Ledger(folder / "resumed.sqlite") as ledger:
        for start in range(0, items, 1000):
            some = [question(provider, number) for number in range(start, min(start + 1000, items))]
            ledger.keep([Answer(request=one, key=one.key(), status=Status.OK, text=TEXT) for one in some])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, busy = time.monotonic(), time.process_time()
    with Engine(folder / "resumed.sqlite") as engine:
        assert (
            sum(answer.ok for answer in engine.answers(question(provider, n) for n in range(items))) == items
        )
    seconds, busy = time.monotonic() - began, time.process_time() - busy
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {
        "items": items,
        "seconds": round(seconds, 2),
        "processor_seconds": round(busy, 2),
        "memory_grown_mb": round(grown, 1),
    }


def main(requests: int = 12_800, at_once: int = 256, items: int = 100_000) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = {
            "throughput": throughput(Path(folder), requests, at_once),
            "resumption": resumption(Path(folder), items),
        }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
