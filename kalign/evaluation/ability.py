"""What a model can do: tasks of lm-evaluation-harness by name, over local copies, base and adapter paired."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from kalign import files, runs
from kalign.errors import ConfigError, DataError, IntegrityError
from kalign.evaluation import harness, results, scoreboard, subjects
from kalign.evaluation.asking import Weights
from kalign.evaluation.harness import Sample
from kalign.evaluation.subjects import Subject
from kalign.models import loading, promises
from kalign.runs import Run

CLICK_FIELDS = ("id", "paragraph", "question", "choices", "answer")


@dataclass(frozen=True, kw_only=True)
class Ability:
    """A group of the harness' tasks."""

    folder: str  # where in the harness its task files lie
    group: str  # what its tasks' names start with
    licence: str


ABILITIES: Mapping[str, Ability] = {
    "click": Ability(folder="click", group="click_", licence="cc-by-sa-4.0 by its card; evaluate only"),
    "kmmlu": Ability(folder="kmmlu/default", group="kmmlu_", licence="cc-by-nd-4.0"),
    "hrm8k": Ability(folder="hrm8k/default", group="hrm8k_", licence="read that of HAERAE-HUB/HRM8K"),
    "haerae": Ability(folder="haerae", group="haerae_", licence="cc-by-nc-nd-4.0: no commercial use"),
    "kobest": Ability(folder="kobest", group="kobest_", licence="cc-by-sa-4.0"),
}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a user asks for."""

    suite: str
    model: str
    base: bool
    family: str | None = None
    out: str | None = None
    data: str | None = None  # a local copy; None: the Hub
    tasks: tuple[str, ...] = ()  # only these; none: all of the group
    num_fewshot: int = 0
    chat_template: bool = False
    batch: int = 16
    margin: float = 0.01  # a loss of so much would matter


def evaluate(wanted: Wanted, console: Console) -> Path:
    """Score the tasks, pair base and model, print the table, and return the folder.

    Raises:
        KalignError: of the category that says who can mend it.
    """
    ability = ABILITIES[wanted.suite]
    harness.require()
    subject = weighed(wanted.model, wanted.family)
    base = subject.base() if wanted.base else None
    console.print(f"{wanted.suite}: licence {ability.licence}", style="dim", soft_wrap=True)
    whose = {"model": subject.identity()} | ({"base": base.identity()} if base else {})
    how = {
        "num_fewshot": wanted.num_fewshot,
        "chat_template": wanted.chat_template,
        "template": template(subject) if wanted.chat_template else "none, plain text",
        "batch": wanted.batch,
    }
    folder = results.folder(wanted.out, f"{wanted.suite}-{subject.name}", whose | how)
    console.print(f"{subject.name} → {folder}", soft_wrap=True)
    with runs.locked(Run(folder)):
        local = _local(wanted, folder)
        tasks = harness.tasks(ability.folder, ability.group, local, wanted.tasks)
        said = samples(wanted, folder, tasks, subject, whose, how | {"data": _digest(local)})
        document = {
            "suite": wanted.suite,
            "harness": harness.version(),
            **how,
            "margin": wanted.margin,
            "model": {"name": subject.name, "identity": whose["model"]},
            "data": _digest(local),
            "licence": ability.licence,
            "tasks": _sums(said, wanted.margin),
        }
        document["notes"] = _notes(document)
        files.write_json(folder / scoreboard.FILE, document)
    scoreboard.say(console, document, folder)
    return folder


def weighed(reference: str, family: str | None) -> Subject:
    """The model that a word names, which the harness can only score by its weights.

    Raises:
        ConfigError: it names nothing, or an endpoint.
    """
    subject = subjects.resolve(reference, family)
    if subject.provider is not None:
        raise ConfigError(
            f"model={reference} is an endpoint, and the harness scores likelihoods of choices, which need "
            "the weights; give a run or a folder"
        )
    return subject


def click(folder: Path) -> list[dict[str, Any]]:
    """The rows of a checkout of CLIcK, in the order of its files' names.

    Raises:
        DataError: there are none, or a row is none of CLIcK's.

    Source:
        Kim et al. 2024, CLIcK, https://aclanthology.org/2024.lrec-main.296.
    """
    rows = []
    for path in sorted(folder.rglob("*.json")):
        for number, row in files.read_json(path):
            if missing := [field for field in CLICK_FIELDS if field not in row]:
                raise DataError(f"{path}: row {number} is none of CLIcK's; it has no {missing[0]}")
            if row["answer"] not in row["choices"]:
                raise DataError(f"{path}: row {number} has an answer that is none of its choices")
            rows.append({field: row[field] for field in CLICK_FIELDS})
    if not rows:
        raise DataError(f"data={folder} holds no JSON file; give a checkout of CLIcK")
    return rows


def template(subject: Subject) -> str:
    """The model's chat template, in words."""
    chat = promises.load_chat(subject.model, loading.locate(subject.model))
    return f"the model's own, sha256 {chat.template_sha256[:12]}"


def _local(wanted: Wanted, folder: Path) -> Path | None:
    if wanted.data is None:
        return None
    place = Path(wanted.data).expanduser()
    if not place.is_dir():
        raise ConfigError(f"data={wanted.data} is no folder; give the one with a copy of {wanted.suite}")
    if wanted.suite != "click" or (place / "train.jsonl").is_file():
        return place
    copy = folder / "data"
    files.write_jsonl(copy / "train.jsonl", click(place))
    return copy


def _digest(local: Path | None) -> str | None:
    return files.sha256(local) if local else None


class Manner(Protocol):
    """How questions are put."""

    @property
    def batch(self) -> int:
        """How many are scored at once."""

    @property
    def num_fewshot(self) -> int:
        """How many answered ones stand before each."""

    @property
    def chat_template(self) -> bool:
        """Whether they are put in the model's chat template."""


def samples(
    wanted: Manner,
    folder: Path,
    tasks: Mapping[str, Any],
    subject: Subject,
    whose: Mapping[str, Any],
    how: Mapping[str, Any],
    told: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
) -> dict[str, dict[str, list[Sample]]]:
    """Every sample by model and task; a task that was scored before is read, never scored again.

    Args:
        told: what else is kept of one of the harness' samples.

    Raises:
        IntegrityError: the folder holds scores of another model, or that were made otherwise.
    """
    said: dict[str, dict[str, list[Sample]]] = {}
    weights: Weights | None = None
    for name in ("base", "model"):
        if name not in whose:
            continue
        for task, made in tasks.items():
            path = folder / "ability" / name / f"{task}.jsonl"
            head = {"whose": whose[name], "how": dict(how)}
            rows = _kept(path, head)
            if rows is None:
                weights = weights or Weights(subject, batch=wanted.batch, max_new_tokens=1)
                rows = harness.score(
                    weights,
                    made,
                    adapter=name == "model",
                    num_fewshot=wanted.num_fewshot,
                    chat_template=wanted.chat_template,
                    told=told,
                )
                files.write_jsonl(path, [head, *map(asdict, rows)])
            said.setdefault(name, {})[task] = rows
    return said


def _kept(path: Path, head: Mapping[str, Any]) -> list[Sample] | None:
    if not path.is_file():
        return None
    lines = [row for _, row in files.read_jsonl(path)]
    if runs.canonical(lines[0]) != runs.canonical(head):
        raise IntegrityError(
            f"{path} holds scores of another model, or that were made otherwise; remove it, or give another "
            "out=DIR"
        )
    return [Sample(**row) for row in lines[1:]]


def require_paired(said: Mapping[str, Mapping[str, Sequence[Sample]]]) -> None:
    """Refuse to compare answers to different questions.

    Raises:
        IntegrityError: base and model were not asked the same.
    """
    for task, before in said.get("base", {}).items():
        if [one.key for one in before] != [one.key for one in said["model"][task]]:
            raise IntegrityError(f"{task}: base and model were not asked the same prompts; score both again")


def _sums(said: Mapping[str, Mapping[str, Sequence[Sample]]], margin: float) -> list[dict[str, Any]]:
    """A row a task, base and model paired question by question, and the averages."""
    require_paired(said)
    tasks: dict[str, tuple[list[float] | None, list[float]]] = {}
    for task, after in said["model"].items():
        before = said["base"][task] if "base" in said else None
        tasks[task] = (
            [one.correct for one in before] if before is not None else None,
            [one.correct for one in after],
        )
    return scoreboard.with_averages(tasks, margin=margin)


def _notes(document: Mapping[str, Any]) -> list[str]:
    return [
        f"kept: a loss of {document['margin'] * 100:g} points or more is ruled out. Scored by "
        f"lm-evaluation-harness {document['harness']}; micro: every question weighs alike, macro: every task",
        scoreboard.BY_ITSELF,
    ]
