"""One benchmark of culture over one's own rows: base and model paired by question, its parts apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from kalign import files, runs
from kalign.errors import ConfigError, DataError
from kalign.evaluation import ability, declared, harness, results, scoreboard
from kalign.evaluation.cultural import bias, formats, tasks
from kalign.evaluation.cultural.sources import HUB, SPLIT, Place
from kalign.evaluation.harness import Sample
from kalign.evaluation.scoreboard import Row
from kalign.runs import Run

SHOWN = {  # the parts that a table shows, of each benchmark
    "bbq": "context",
    "global_mmlu": "culture",
    "include": "region",
    "blend": "country",
    "blend_short": "country",
}
NOTES = {
    "normad": "The wording of the questions is kalign's; the levels say what stands before a story.",
    "bbq": "Bias: -100 to 100, 0 without any; in ambiguous contexts scaled by the share of wrong answers.",
    "blend": "Every question as the file asks it; its answer's beginning is given, and the letter scored.",
    "blend_short": "Right: an annotated answer stands in the reply; BLEnD's own scores compare stems too.",
}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a user asks for."""

    suite: str
    model: str
    base: bool
    place: Place
    columns: str | None = None  # FIELD:COLUMN,..., where the files name a field otherwise
    language: str = ""
    licence: str | None = None  # declared by the user
    family: str | None = None
    out: str | None = None
    chat_template: bool = False
    batch: int = 16
    num_fewshot: int = 0
    margin: float = 0.01  # a loss of so much would matter


def evaluate(wanted: Wanted, console: Console) -> Path:
    """Score the questions, pair base and model, print the table, and return the folder.

    Raises:
        KalignError: of the category that says who can mend it.
    """
    harness.require()
    known = formats.FORMATS[wanted.suite]
    asked = list(known.read(wanted.place, named(wanted), wanted.language))
    if not asked:
        raise DataError(
            f"{wanted.place.path} holds no question that can be asked; look at data and language="
            f"{wanted.language}"
        )
    subject = ability.weighed(wanted.model, wanted.family)
    base = subject.base() if wanted.base else None
    licence = wanted.licence or known.licence
    console.print(f"{wanted.suite}: licence {licence}; {known.source}", style="dim", soft_wrap=True)
    whose = {"model": subject.identity()} | ({"base": base.identity()} if base else {})
    how = {
        "num_fewshot": 0,
        "chat_template": wanted.chat_template,
        "template": ability.template(subject) if wanted.chat_template else "none, plain text",
        "batch": wanted.batch,
        "data": wanted.place.digest(),
        "language": wanted.language,
    }
    folder = results.folder(wanted.out, f"{wanted.suite}-{subject.name}", whose | how)
    console.print(f"{subject.name} → {folder}", soft_wrap=True)
    with runs.locked(Run(folder)):
        made = tasks.made(wanted.suite, asked, folder / "data")
        said = ability.samples(wanted, folder, made, subject, whose, how, told=tasks.told)
        document = {
            "suite": wanted.suite,
            "harness": harness.version(),
            **how,
            "margin": wanted.margin,
            "model": {"name": subject.name, "identity": whose["model"]},
            "licence": licence,
            "source": known.source,
            "questions": len(asked),
            **_sums(wanted, said),
        }
        files.write_json(folder / scoreboard.FILE, document)
    scoreboard.say(console, document, folder)
    return folder


def named(wanted: Wanted) -> dict[str, str]:
    """The column of each field: its own name, but for those that a user declares.

    Raises:
        ConfigError: a declared field is none of the benchmark's.
    """
    return declared.columns(wanted.columns, {name: name for name in formats.FORMATS[wanted.suite].fields})


def _sums(wanted: Wanted, said: Mapping[str, Mapping[str, Sequence[Sample]]]) -> dict[str, Any]:
    """A row a task, their averages, the parts, and what BBQ says of bias."""
    ability.require_paired(said)
    margin = wanted.margin
    by_task = {task: (_right(said, task), _all(after)) for task, after in said["model"].items()}
    families = {task: _families(after) for task, after in said["model"].items()}
    rows = scoreboard.with_averages(by_task, margin=margin, families=families)
    every = {name: [one for some in tasks_.values() for one in some] for name, tasks_ in said.items()}
    parts = {task: _parts(said["model"][task], *by_task[task], margin=margin) for task in by_task}
    if len(parts) > 1:
        before = [one.correct for one in every["base"]] if "base" in every else None
        parts["all"] = _parts(every["model"], before, _all(every["model"]), margin=margin)
    shown = parts.get("all") or next(iter(parts.values()))
    rows += shown.get(SHOWN.get(wanted.suite, ""), [])
    if wanted.suite == "bbq":
        rows += bias.rows(every.get("base"), every["model"])
    notes = [
        f"kept: a loss of {margin * 100:g} points or more is ruled out. Scored by lm-evaluation-harness "
        f"{harness.version()}; micro: every question weighs alike, macro: every task",
        *([NOTES[wanted.suite]] if wanted.suite in NOTES else []),
        "Questions of one story, template or subject stand or fall together in the intervals, but for "
        "macro's. Other parts (by country, category, ...) stand in the file of scores.",
        scoreboard.BY_ITSELF,
    ]
    named_parts = {f"{task}, by {by}": made for task, some in parts.items() for by, made in some.items()}
    return {"tasks": rows, "parts": named_parts, "notes": notes}


def _parts(
    samples: Sequence[Sample], before: Sequence[float] | None, after: Sequence[float], *, margin: float
) -> dict[str, list[Row]]:
    """A row for each part, by what the parts divide."""
    families = _families(samples)
    return {
        divides: [
            scoreboard.share(
                part,
                [before[place] for place in places] if before is not None else None,
                [after[place] for place in places],
                margin=margin,
                families=[families[place] for place in places],
            )
            for part, places in some.items()
        ]
        for divides, some in tasks.parts(samples).items()
    }


def _families(samples: Sequence[Sample]) -> list[str]:
    return [one.told["family"] for one in samples]


def _right(said: Mapping[str, Mapping[str, Sequence[Sample]]], task: str) -> list[float] | None:
    return _all(said["base"][task]) if "base" in said else None


def _all(samples: Sequence[Sample]) -> list[float]:
    return [one.correct for one in samples]


def require_place(wanted: Wanted) -> None:
    """Refuse a benchmark without data, with some that cannot be what it reads, or with words that choose
    nothing of it.

    Raises:
        ConfigError: there is none, or a word has no effect.
    """
    known, place, language = formats.FORMATS[wanted.suite], wanted.place, wanted.language
    hub = known.hub
    if not wanted.place.path:
        at_hub = f", or data=hub:{hub} revision=COMMIT" if hub else ""
        raise ConfigError(f"suite={wanted.suite} needs data=FILE or a folder of files{at_hub}")
    if wanted.suite == "blend_short" and place.path.startswith(HUB):
        raise ConfigError("suite=blend_short reads BLEnD's files of annotations; give data=FOLDER with them")
    if language and known.languages is not None and language not in known.languages:
        can = " or ".join(f"language={one}" for one in known.languages) or "none"
        raise ConfigError(
            f"language={language} chooses nothing of suite={wanted.suite}, which takes {can}; leave it out, "
            "and choose by data"
        )
    if not place.path.startswith(HUB) and (place.revision or place.subset or place.split != SPLIT):
        raise ConfigError("revision, subset and split choose of the Hub, and data is a path; leave them out")
