"""Trainings that are hit at one exact point: `python -m tests.training.forks`, each line in one job of JSON.

The libraries are loaded once; each training is a fork, so that many points can be tried. A job says its
`folder`, `words`, how many `ranks` train, and under `hits` which `rank` gets which `signal` at which `point`:
["file", N] is the Nth time that anything is done to a file of the checkpoints' folder from `since` on, and
["step", N] is the end of the Nth step, ["start", 0] the moment when the pairs are ready. With `copies`, a
folder, the run is copied there at every file point of every rank: what a kill -9 at this point would leave.
With `main`, a module, its `main(words)` is called instead of the command. One line is printed for each job:
the exit codes of its ranks, and how many file points the first one passed.
"""

import contextlib
import gc
import importlib
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from peft import PeftModel
from transformers import TrainerCallback

from kalign.cli import run
from kalign.config import compose
from kalign.training import dpo, inputs
from kalign.training import ranks as waiting

LONGEST_SECONDS = 600
FILE_EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")


class Points:
    """Counts what happens in one process, and sends it signals where the job says so."""

    def __init__(self, hits: list[dict[str, Any]], since: str, copies: str | None) -> None:
        self.hits = hits
        self.since = since
        self.copies = copies
        self.copying = False
        self.files = 0
        self.begun = False

    def reached(self, kind: str, number: int) -> None:
        for hit in self.hits:
            if hit["point"] == [kind, number]:
                os.kill(os.getpid(), getattr(signal, hit["signal"]))

    def file(self, path: object) -> None:
        text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        self.begun = self.begun or self.since in text
        if self.begun and "/checkpoints/" in text and not self.copying:
            self.files += 1
            self.copy(Path(text.partition("/checkpoints/")[0]))
            self.reached("file", self.files)

    def copy(self, run: Path) -> None:
        """Keep the run as it is now; what the other rank removes meanwhile is gone from the copy too."""
        if self.copies:
            self.copying = True
            folder = Path(self.copies, f"{os.environ.get('RANK', 0)}-{self.files}", run.name)
            with contextlib.suppress(shutil.Error):
                shutil.copytree(run, folder)
            self.copying = False

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        changes = event != "open" or (
            isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if event in FILE_EVENTS and changes:
            self.file(arguments[0])

    def around(self, function: Callable[..., Any], which: int) -> Callable[..., Any]:
        """The function with a point before and after it: what is written in C++ or Rust is not heard."""

        def wrapped(*arguments: Any, **options: Any) -> Any:
            path = arguments[which] if len(arguments) > which else ""
            self.file(path)
            result = function(*arguments, **options)
            self.file(path)
            return result

        return wrapped

    def watch(self) -> None:
        torch.save = self.around(torch.save, 1)
        safetensors.torch.save_file = self.around(safetensors.torch.save_file, 1)
        PeftModel.save_pretrained = self.around(PeftModel.save_pretrained, 1)
        sys.addaudithook(self.heard)
        points = self

        class Steps(TrainerCallback):
            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                points.reached("step", state.global_step)

        class Stop(waiting.StopWhenAsked):
            def on_step_end(self, args: Any, state: Any, control: Any, **options: Any) -> None:
                points.reached("step", state.global_step)
                super().on_step_end(args, state, control, **options)

        waiting.StopWhenAsked = Stop  # type: ignore[misc]
        prepare = inputs.prepare

        def prepared(*arguments: Any) -> Any:
            result = prepare(*arguments)
            points.reached("start", 0)
            return result

        dpo.inputs.prepare = prepared  # type: ignore[attr-defined]


def train(job: dict[str, Any], rank: int, port: int) -> int:
    """One rank of a job, in a process of its own."""
    if job["ranks"] > 1 or "main" in job:
        own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": job["ranks"], "MASTER_PORT": port}
        os.environ.update({key: str(value) for key, value in own.items()}, MASTER_ADDR="127.0.0.1")
    hits = [hit for hit in job["hits"] if hit.get("rank", 0) == rank]
    points = Points(hits, job.get("since", "checkpoint-"), job.get("copies"))
    points.watch()
    if "main" in job:
        return int(importlib.import_module(job["main"]).main(job["words"]))
    code = run(["train", *job["words"]])
    if rank == 0:
        Path(job["report"]).write_text(str(points.files), encoding="utf-8")
    return code


def main() -> None:
    """Do the jobs, one after another."""
    compose.load([])  # what every recipe is made of is read once
    gc.freeze()  # what is loaded is never collected, nor copied into the forks for being looked at
    for text in sys.stdin:
        signal.alarm(LONGEST_SECONDS)  # ends this process, and with it the wait for a job that hangs
        job = json.loads(text)
        os.chdir(job["folder"])
        if "main" in job:
            importlib.import_module(job["main"])  # here, so that its forks need not
        job["report"] = "points.txt"
        Path(job["report"]).unlink(missing_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        children = []
        for rank in range(job["ranks"]):
            child = os.fork()
            if child == 0:
                output = os.open(f"said-{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(output, 1)
                os.dup2(output, 2)
                code = train(job, rank, port)
                sys.stdout.flush()
                os._exit(code)
            children.append(child)
        codes = []
        for child in children:
            codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            stopped = any(hit["signal"] == "SIGSTOP" for hit in job["hits"])
            if codes[-1] == -signal.SIGKILL or stopped:
                for other in children[len(codes) :]:  # what a launcher does when one rank dies
                    os.kill(other, signal.SIGKILL)
        files = int(Path(job["report"]).read_text()) if Path(job["report"]).exists() else None
        said = [Path(f"said-{rank}.txt").read_text(encoding="utf-8")[-3000:] for rank in range(job["ranks"])]
        print(json.dumps({"codes": codes, "files": files, "said": said}), flush=True)


if __name__ == "__main__":
    main()
