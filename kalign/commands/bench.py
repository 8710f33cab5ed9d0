"""The command that times a training step beside TRL's own."""

import argparse
import os
from collections.abc import Mapping

from kalign.commands.command import Command, console, loading_libraries, print_json


def bench(words: list[str], flags: argparse.Namespace) -> int:
    """Time a training step in several ways on the same weights and pairs, in turns, and compare them."""
    from pathlib import Path

    from kalign.config import words as plain

    given = plain.read(words, settings={"tier": "cpu", "out": "bench.json", "llamafactory": ""})
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # torch's profiler, read when torch is imported
    with loading_libraries():
        from kalign.training import benchmark

    document = benchmark.run(
        str(given["tier"]),
        Path(str(given["out"])),
        console(flags),
        llamafactory=str(given["llamafactory"]) or None,
    )
    if flags.json:
        print_json(document)
    return 0


COMMANDS: Mapping[str, Command] = {
    "bench": Command(
        run=bench,
        summary="time a training step beside TRL's own, on the same weights and pairs",
        example="kalign bench tier=cpu out=bench.json",
        words="[tier=cpu|gpu] [out=FILE.json] [llamafactory=PYTHON]",
        about_words="tier=cpu times small models on one thread, tier=gpu a model of eight billion weights; "
        "both have random weights and fetch nothing. out is the document; a page with the plots lies beside "
        "it. llamafactory is the Python of an environment that holds LLaMA-Factory, whose step is timed too.",
    ),
}
