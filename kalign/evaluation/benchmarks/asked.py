"""What such benchmarks share: a folder of their own, and the answers of model and base in it, each asked for
once."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from kalign import files, runs
from kalign.evaluation import answering, questions, responses, results, scoreboard
from kalign.evaluation.answering import Models
from kalign.evaluation.questions import Question
from kalign.evaluation.responses import Asker
from kalign.providers import Engine
from kalign.records import Said
from kalign.runs import Run


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a user asks for."""

    suite: str
    model: str
    data: Path
    base: str | None = None
    family: str | None = None
    out: str | None = None
    batch: int = 16
    max_new_tokens: int = 512
    margin: float = 0.01  # a loss of so much would matter


@dataclass(frozen=True, kw_only=True)
class Place:
    """The folder of one evaluation while it is held, and what may answer in it."""

    folder: Path
    models: Models
    engine: Engine | None
    wanted: Wanted

    def each(self, probes: Sequence[Question]) -> Iterator[tuple[str, Asker]]:
        """The base, if there is one, and the model, ready to answer."""
        return answering.each(
            self.models,
            probes,
            self.engine,
            batch=self.wanted.batch,
            max_new_tokens=self.wanted.max_new_tokens,
        )

    def collect(
        self, name: str, found: Sequence[Question], asker: Asker, *, part: str = "", after: str | None = None
    ) -> list[Said]:
        """The answers of one model, from its file or asked for.

        Args:
            part: which of several files.
            after: the hash of what the questions follow from, such as answers to earlier ones.
        """
        path = self.folder / "responses" / f"{name}{part}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        whose = self.models.identities[name] | ({"after": after} if after else {})
        return responses.collect(path, found, asker, whose=whose, adapter=name == "model")

    def finish(self, document: Mapping[str, Any], rows: Mapping[str, Any], console: Console) -> None:
        """Write what each question came to, then the sums; and print them.

        Args:
            rows: of each model, a row a question.
        """
        for name, some in rows.items():
            files.write_jsonl(self.folder / "ability" / f"{name}.jsonl", some)
        whole = {
            "suite": self.wanted.suite,
            "model": self.models.named("model"),
            "base": self.models.named("base"),
            "data": files.sha256(self.wanted.data),
            "margin": self.wanted.margin,
            "max_new_tokens": self.wanted.max_new_tokens,
            **document,
        }
        files.write_json(self.folder / scoreboard.FILE, whole)
        scoreboard.say(console, whole, self.folder)


@contextlib.contextmanager
def place(
    wanted: Wanted,
    found: Sequence[Question],
    console: Console,
    *,
    licence: str,
    engine: bool = False,
    decided: Mapping[str, Any] | None = None,
) -> Iterator[Place]:
    """Hold the folder of an evaluation.

    Args:
        engine: whether endpoints are asked, beside those of the models.
        decided: what else the folder's name depends on.

    Raises:
        KalignError: a model cannot be found, or the folder is in use.
    """
    models = answering.resolve(wanted.model, wanted.base, wanted.family)
    console.print(f"{wanted.suite}: licence {licence}; {len(found)} prompts", style="dim", soft_wrap=True)
    folder = _folder(wanted, found, models, decided or {})
    console.print(f"{models.model.name} → {folder}", soft_wrap=True)
    with runs.locked(Run(folder)), contextlib.ExitStack() as opened:
        asking = engine or models.remote
        ledger = opened.enter_context(Engine(folder / "ledger.sqlite")) if asking else None
        yield Place(folder=folder, models=models, engine=ledger, wanted=wanted)


def _folder(wanted: Wanted, found: Sequence[Question], models: Models, decided: Mapping[str, Any]) -> Path:
    whole = {
        "questions": questions.digest(found),
        "whose": models.identities,
        "max_new_tokens": wanted.max_new_tokens,
        **decided,
    }
    return results.folder(wanted.out, f"{wanted.suite}-{models.model.name}", whole)
