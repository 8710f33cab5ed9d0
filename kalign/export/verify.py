"""The process that proves exports: python -m kalign.export.verify, driven by prover.py.

It reads one question a line, as JSON, and writes JSON lines: how far it is, and at last the certificate, or
the fault that was found.
"""

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any, TextIO

from kalign.errors import KalignError

SLOW = ("torch", "transformers.generation", "bitsandbytes", "peft")
BATTERY = Path(__file__).parent.parent / "models/battery.json"


def main() -> None:
    """Answer until there are no more questions."""
    for library in SLOW:  # loaded once, before the first fork
        importlib.import_module(library)
    import torch

    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is not an answer
    for line in sys.stdin:
        asked = json.loads(line)
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            answer(asked, channel)
            return
        child = os.fork()
        if child == 0:
            answer(asked, channel)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            say(channel, {"ended": status})


def answer(asked: dict[str, Any], channel: TextIO) -> None:
    """Write the certificate of what is asked for, or why there is none."""
    folder = Path(asked["folder"])
    # Before any of kalign's classes is known to transformers: what others would see
    plain = {str(place): plain_tokens(place) for place in (folder, folder / "tokenizer") if place.is_dir()}
    from kalign.export import certificate
    from kalign.export.prover import Question

    def tell(stage: str, done: int, of: int) -> None:
        say(channel, {"at": stage, "done": done, "of": of})

    try:
        made = certificate.certify(Question(**asked), plain, tell)
    except KalignError as wrong:
        fault = getattr(wrong, "code", type(wrong).__name__)  # only some errors have a code
        say(channel, {"fault": fault, "message": str(wrong), "exit_code": wrong.exit_code})
    else:
        say(channel, {"certificate": made})


def plain_tokens(folder: Path) -> list[list[int]] | str:
    """The battery's texts as transformers' AutoTokenizer cuts them; or what it said if it cannot load."""
    from transformers import AutoTokenizer

    texts = json.loads(BATTERY.read_text(encoding="utf-8"))
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except Exception as wrong:  # any library's own; it is an answer here, not a failure of ours
        return f"{type(wrong).__name__}: {wrong}"
    return [tokenizer.encode(text, add_special_tokens=False) for text in texts]


def say(channel: TextIO, content: dict[str, Any]) -> None:
    """Write one line at once."""
    channel.write(json.dumps(content, ensure_ascii=False) + "\n")
    channel.flush()


if __name__ == "__main__":
    main()
