"""What a study does for one model, stage by stage; a finished stage is known by its words and its files, so
that the same study goes on wherever it was stopped."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from kalign import files, locks, runs
from kalign.config import Recipe
from kalign.errors import Interrupted
from kalign.preemption import Children
from kalign.runs import Run
from kalign.sweeps.processes import last_said, noted, started

PAUSE_SECONDS = 1.0
SIGNALLED = 128  # to which a shell adds the number of the signal that killed a process
ABILITY = "ability.json"  # what a benchmark writes last; its own module would load torch


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a study is made of."""

    recipes: Mapping[str, Recipe]  # by model
    words: Mapping[str, Sequence[str]]  # of each model's training
    launch: Sequence[str]  # the words that say on which devices; they change no number
    suite: str
    judge: str
    as_of: date
    batch: int
    max_new_tokens: int
    sets: Mapping[str, str]  # the files of the suite's sets
    abilities: Mapping[str, str | None]  # benchmarks, and where a local copy of each lies
    out: Path


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One command of a study."""

    name: str  # train, eval, or a benchmark
    words: Sequence[str]
    output: Path  # the file that is written last
    after: str  # what it starts from: the hash of the adapter, or nothing
    more: Sequence[str] = ()  # words that change no number


@dataclass(frozen=True, kw_only=True)
class Failure:
    """How a stage ended that did not end well."""

    stage: str
    code: int
    said: str
    log: str


class Work(Protocol):
    """Runs one command of kalign."""

    def __call__(self, words: Sequence[str], log: Path) -> int:
        """Its exit code; what it says is added to the file `log`."""

    def stopped(self) -> bool:
        """Whether this process was asked to leave."""


class Apart:
    """Each command in processes of its own, so that none leaves anything in another's memory."""

    def __init__(self, children: Children) -> None:
        self.children = children

    def __call__(self, words: Sequence[str], log: Path) -> int:
        """Run it to its end; a signal that reaches this process reaches it too."""
        code = started(self.children, words, log).wait()
        if code == 0:
            return code
        return noted(log, code if code > 0 else SIGNALLED - code)

    def stopped(self) -> bool:
        """Whether a signal came."""
        return self.children.given is not None


@dataclass(kw_only=True)
class Part:
    """What a study has of one model."""

    model: str
    run: Run
    evaluation: Path
    abilities: dict[str, Path] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)

    def failed(self, stage: str) -> bool:
        """Whether that stage ended badly."""
        return any(failure.stage == stage for failure in self.failures)


def through(wanted: Wanted, model: str, work: Work, console: Console) -> Part:
    """Do all that is left for one model; what fails is noted, and the rest that needs it left out.

    Raises:
        Interrupted: this process or a training was asked to leave; the same command goes on.
    """
    recipe = wanted.recipes[model]
    run = runs.named(recipe.runs_path(), recipe.name, recipe.determining())
    key = runs.fingerprint([run.path.name, wanted.suite, dict(wanted.sets), wanted.max_new_tokens])[:8]
    part = Part(model=model, run=run, evaluation=wanted.out / "evals" / f"{model}-{key}")
    training = Stage(
        name="train",
        words=["train", *wanted.words[model]],
        output=run.result,
        after="",
        more=wanted.launch,
    )
    if not _done(wanted, part, training, run, work, console):
        return part
    adapter = str(run.read_result()["adapter_sha256"])
    asking = Stage(
        name="eval", words=_eval(wanted, part), output=part.evaluation / "eval.json", after=adapter
    )
    _done(wanted, part, asking, Run(part.evaluation), work, console)
    for name, copy in wanted.abilities.items():
        folder = wanted.out / "evals" / f"{model}-{name}-{adapter[:8]}"
        given = [f"data={copy}"] if copy else []
        words = ["eval", f"suite={name}", f"model={run.path}", "base=true", f"out={folder}", *given]
        stage = Stage(name=name, words=words, output=folder / ABILITY, after=adapter)
        if _done(wanted, part, stage, Run(folder), work, console):
            part.abilities[name] = folder
    return part


def _eval(wanted: Wanted, part: Part) -> list[str]:
    return [
        "eval",
        f"suite={wanted.suite}",
        f"model={part.run.path}",
        "base=true",
        f"judge={wanted.judge}",
        f"as_of={wanted.as_of}",
        f"batch={wanted.batch}",
        f"max_new_tokens={wanted.max_new_tokens}",
        f"out={part.evaluation}",
        *(f"{name}={path}" for name, path in wanted.sets.items()),
    ]


def _done(wanted: Wanted, part: Part, stage: Stage, folder: Run, work: Work, console: Console) -> bool:
    """Whether the stage is finished; it is done now unless it was before."""
    record = wanted.out / "done" / f"{part.model}-{stage.name}.json"
    if _recorded(record) == _finished(stage):
        console.print(f"{part.model}: {stage.name} is finished", style="dim", soft_wrap=True)
        return True
    log = wanted.out / "logs" / f"{part.model}-{stage.name}.log"
    for path in (record, log):
        path.parent.mkdir(parents=True, exist_ok=True)
    if locks.is_held(folder.lock):
        console.print(f"{part.model}: another process works in {folder.path}; waiting for it", soft_wrap=True)
    while locks.is_held(folder.lock) and not work.stopped():
        time.sleep(PAUSE_SECONDS)
    code = Interrupted.exit_code
    before = log.stat().st_size if log.exists() else 0
    if not work.stopped():
        console.print(f"{part.model}: {stage.name} → {stage.output.parent} ({log})", soft_wrap=True)
        code = work([*stage.words, *stage.more], log)
    if code == Interrupted.exit_code or work.stopped():
        raise Interrupted(f"asked to leave during {stage.name} of {part.model}; the same command goes on")
    if code == 0:
        files.write_json(record, _finished(stage))
        return True
    said = last_said(log, before)
    part.failures.append(Failure(stage=stage.name, code=code, said=said, log=str(log)))
    console.print(f"{part.model}: {stage.name} failed with code {code}: {said}", soft_wrap=True)
    return False


def _finished(stage: Stage) -> dict[str, Any] | None:
    if not stage.output.is_file():
        return None
    return {"words": list(stage.words), "after": stage.after, "sha256": files.sha256(stage.output)}


def _recorded(record: Path) -> Any:
    """What was written down of a stage; never what an unfinished one looks like."""
    return json.loads(record.read_text(encoding="utf-8")) if record.is_file() else "nothing"
