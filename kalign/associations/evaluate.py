"""What a model associates and answers, measured: lists and rankings against both cultures, affect, survey.

`evaluate` is all that another system needs: it takes models that can be asked, and gives one document.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from kalign.associations import affect, answers, metrics, prompts, shift, survey, tasks
from kalign.associations.norms import Norms
from kalign.associations.prompts import Prompts
from kalign.associations.speaker import Speaks
from kalign.associations.survey import Item
from kalign.config import Associations
from kalign.data.examples import Example
from kalign.statistics import mean_interval, paired_difference

PRIMARY = "p@5_top5"
Rows = Sequence[Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class Questions:
    """What every model is asked, and what its answers are compared with.

    Args:
        lists: generation examples on held-out cues of the own norms.
        rankings: ranking examples on the same cues.
        source, target: the countries between which the survey's axis runs.
    """

    own: Norms
    other: Norms | None
    texts: Prompts
    lists: Sequence[Example]
    rankings: Sequence[Example]
    items: Sequence[Item] = ()
    source: str = ""
    target: str = ""
    orders: int = 2
    lexicons: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    compat: bool = False
    seed: int = 42


def questions(
    own: Norms, other: Norms | None, settings: Associations, *, seed: int, **more: Any
) -> Questions:
    """The questions on the held-out cues of `own`; `more` is what `Questions` takes besides."""
    texts = prompts.load(settings.prompts)
    cues = tasks.split(own.counts, settings.split, seed=seed)["test"]
    lists = [
        example
        for cue in cues
        for example in tasks.generation(cue, cue, own.counts[cue], texts, settings, seed=seed, copies=0)
    ]
    return Questions(
        own=own,
        other=other,
        texts=texts,
        lists=lists,
        rankings=tasks.rankings(own, cues, texts, settings, seed=seed),
        seed=seed,
        **more,
    )


def evaluate(arms: Mapping[str, Speaks], asked: Questions, *, base: str = "base") -> dict[str, Any]:
    """Every arm's numbers with 95 % intervals, and what changed against the arm `base`.

    Returns:
        `arms` → arm → `own`, `other`, `contrast`, `ranking`: number → estimate; `changes` the same as paired
        differences from the base; `affect` and `survey` where they were asked for.
    """
    heard = {name: hear(speaker, asked) for name, speaker in arms.items()}
    return compared(heard, asked, base=base)


def hear(speaker: Speaks, asked: Questions) -> dict[str, Any]:
    """All that one model answers: plain values, to be kept in a file."""
    survey_said = []
    if asked.items:
        survey_said = survey.answered(
            asked.items, speaker.logprobs, asked.texts, count=asked.orders, seed=asked.seed
        )
    return {
        "lists": speaker.answers([example.prompt for example in asked.lists]),
        "rankings": speaker.answers([example.prompt for example in asked.rankings]) if asked.rankings else [],
        "survey": [list(shares) for shares in survey_said],
    }


def compared(
    heard: Mapping[str, Mapping[str, Any]], asked: Questions, *, base: str = "base"
) -> dict[str, Any]:
    """The document of `evaluate`, from what the models answered."""
    rows = {name: _rows(said, asked) for name, said in heard.items()}
    document: dict[str, Any] = {
        "own": asked.own.culture,
        "other": asked.other.culture if asked.other else None,
        "cues": len(asked.lists),
        "ranking_questions": len(asked.rankings),
        "base": base,
        "arms": {
            name: {part: _estimates(some) for part, some in parts.items()} for name, parts in rows.items()
        },
        "changes": {
            name: {part: _changes(rows[base][part], some) for part, some in parts.items()}
            for name, parts in rows.items()
            if name != base and base in rows
        },
    }
    if asked.lexicons:
        document["affect"] = affect.compared(
            {name: [answers.words(answer) for answer in said["lists"]] for name, said in heard.items()},
            [list(example.gold["norms"]) for example in asked.lists],
            asked.lexicons,
            base=base,
        )
    if asked.items and base in heard:
        document["survey"] = _survey(heard, asked, base)
    return document


def _rows(said: Mapping[str, Any], asked: Questions) -> dict[str, list[dict[str, float]]]:
    """Each part's numbers, one row an answer; a cue that the other culture lacks is left out there."""
    own = [
        metrics.listing(example, answer) for example, answer in zip(asked.lists, said["lists"], strict=True)
    ]
    found = {"own": own}
    if asked.other is not None:
        found["other"], found["contrast"] = [], []
        for example, answer, row in zip(asked.lists, said["lists"], own, strict=True):
            theirs = asked.other.counts.get(example.group)
            if theirs is None:
                found["other"].append({})
                found["contrast"].append({})
                continue
            there = metrics.generation(answers.words(answer), theirs)
            found["other"].append(there)
            found["contrast"].append({PRIMARY: row[PRIMARY] - there[PRIMARY]})
    marker = asked.texts.marker
    found["ranking"] = [
        metrics.ranked(example, answer, marker=marker)
        for example, answer in zip(asked.rankings, said["rankings"], strict=True)
    ]
    return found


def _estimates(rows: Rows) -> dict[str, Any]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: asdict(mean_interval([row[name] for row in rows if name in row])) for name in names}


def _changes(before: Rows, after: Rows) -> dict[str, Any]:
    changed = {}
    for name in dict.fromkeys(name for row in after for name in row):
        pairs = [
            (old[name], new[name])
            for old, new in zip(before, after, strict=True)
            if name in old and name in new
        ]
        if pairs:
            changed[name] = asdict(paired_difference([old for old, _ in pairs], [new for _, new in pairs]))
    return changed


def _survey(heard: Mapping[str, Mapping[str, Any]], asked: Questions, base: str) -> dict[str, Any]:
    """Each arm against the base, on the items that both countries answered."""
    items = shift.both(asked.items, asked.source, asked.target)
    places = [place for place, item in enumerate(asked.items) if item in items]

    def of(name: str) -> list[tuple[float, ...]]:
        return [tuple(heard[name]["survey"][place]) for place in places]

    document: dict[str, Any] = {
        base: {"base": shift.position(items, of(base), asked.source, asked.target), "items": len(items)}
    }
    for name in heard:
        if name != base:
            document[name] = shift.compared(
                items, of(base), of(name), asked.source, asked.target, compat=asked.compat
            )
    return {"source": asked.source, "target": asked.target, "arms": document}
