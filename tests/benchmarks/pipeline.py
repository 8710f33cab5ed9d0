"""Whether the memory of `kalign synth` grows with the data: python -m tests.benchmarks.pipeline [SIZE ...]

Makes data sets of each SIZE (2,000 and 10,000 unless given) against a server in a process of its own that
answers at once, each text another one; then makes each again from its ledger alone. Prints one JSON document
with the peak memory of each process, and writes it where OUT says.
"""

import hashlib
import importlib.metadata
import json
import multiprocessing
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.providers.server import Reply, Server, says, serving
from tests.synthesis.conftest import Models, words

SYLLABLES = [chr(code) for code in range(0xAC00, 0xD7A4, 7)]
SMALL = ("waves=1", "seeds.surplus=1.2", "attack.tries=2", "attack.samples=1", "respond.candidates=2")
LIBRARIES = ("kalign", "aiohttp", "datasketch", "pyarrow")


class Many(Models):
    """Answers of which no two are alike; the question decides them, and the judges like all of them."""

    def write(self, said: str, number: int) -> Reply:
        if not said.startswith("{"):  # the attacker
            return says(json.dumps({"prompt": f"{said} {made(said, 4)}"}, ensure_ascii=False))
        given = json.loads(said)
        category = self.kinds[given["type"]].partition(".")[0]
        return says(json.dumps({"prompt": f"{category} {made(said, 12)}"}, ensure_ascii=False))

    def answer(self, model: str, told: str, said: str) -> Reply:
        return says(made(f"{model} {bool(told)} {said}", 80))

    def verdict(self, model: str, name: str, data: Mapping[str, Any]) -> str | int:
        if name == "category":
            return str(data["request"]).partition(" ")[0]
        return {"harm": 5, "query": 4, "safety": 5, "coherence": 5}.get(name, "yes")


def made(question: str, count: int) -> str:
    """As many words, which the question decides."""
    chance = random.Random(hashlib.sha256(question.encode()).digest())
    return " ".join("".join(chance.choices(SYLLABLES, k=3)) for _ in range(count))


def serve(line: Connection) -> None:
    with serving(Many()) as server:
        line.send(server.port)
        line.recv()


def processor() -> str:
    """The name of this machine's processor, where Linux tells it."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def measured(call: list[str]) -> dict[str, Any]:
    """One process: its time, and the most memory that it held."""
    began = time.monotonic()
    process = subprocess.Popen(call, stdout=subprocess.PIPE)
    assert process.stdout is not None
    told = json.loads(process.stdout.read())
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return {
        "triplets": told["funnel"][-1]["kept"],
        "seconds": round(time.monotonic() - began, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mb": round(usage.ru_maxrss / 1024, 1),
    }


def main(*sizes: int) -> None:
    here, there = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    process.start()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        named = words(Server(port=here.recv()), Path(folder))
        for size in sizes or (2_000, 10_000):
            out = Path(folder) / str(size)
            call = [sys.executable, "-m", "kalign", "synth", *named, *SMALL, f"size={size}", f"out={out}"]
            asked = measured([*call, "--json"])
            found.append({"size": size, "asked": asked, "replayed": measured([*call, "--offline", "--json"])})
            print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    here.send("end")
    process.join()
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES if name != "kalign"}
    document = {
        "made_on": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "load_average": [round(one, 2) for one in os.getloadavg()],
        },
        "versions": {"python": platform.python_version(), **versions},
        "runs": found,
    }
    print(json.dumps(document, indent=2))
    if out := os.environ.get("OUT"):
        Path(out).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
