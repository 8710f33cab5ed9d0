"""What models associate and answer, measured: lists and rankings against both cultures, affect, survey."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from kalign.associations import affect, answers, metrics, prompts, shift, tasks
from kalign.associations.norms import Norms
from kalign.associations.prompts import Prompts
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
        depths: the k of each P@k, any human associate being a hit; the first five words are always measured.
        compat: surveys are measured with the published code's defects, and P@5 as it reads lists too.
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
    depths: Sequence[int] = ()
    compat: bool = False
    seed: int = 42


def questions(
    own: Norms,
    other: Norms | None,
    settings: Associations,
    *,
    seed: int,
    without: Collection[str] = (),
    **more: Any,
) -> Questions:
    """The questions on the held-out cues of `own`; `more` is what `Questions` takes besides.

    Args:
        without: cues that are left out, because a model was trained on them.
    """
    texts = prompts.load(settings.prompts)
    held_out = tasks.split(own.counts, settings.split, seed=seed)["test"]
    cues = [cue for cue in held_out if cue not in without]
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


def compared(
    heard: Mapping[str, Mapping[str, Any]], asked: Questions, *, base: str = "base"
) -> dict[str, Any]:
    """Every arm's numbers with 95 % intervals, and what changed against the arm `base`.

    Args:
        heard: what each arm answered, by part; a part that it was not asked is empty.

    Returns:
        `arms` → arm → `own`, `other`, `contrast`, `ranking`: number → estimate; `changes` the same as paired
        differences from the base; `affect` and `survey` where they were asked for.
    """
    rows = {name: scored(said, asked) for name, said in heard.items()}
    groups = {"ranking": [example.group for example in asked.rankings]}
    document: dict[str, Any] = {
        "own": asked.own.culture,
        "other": asked.other.culture if asked.other else None,
        "cues": len(asked.lists),
        "ranking_questions": len(asked.rankings),
        "base": base,
        "arms": {
            name: {part: _estimates(some, groups.get(part)) for part, some in parts.items()}
            for name, parts in rows.items()
        },
        "changes": {
            name: {
                part: _changes(rows[base][part], some, groups.get(part))
                for part, some in parts.items()
                if part in rows[base]
            }
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
    if asked.items:
        surveyed = {name: said["survey"] for name, said in heard.items() if said["survey"]}
        document["survey"] = _survey(surveyed, asked, base)
    return document


def scored(said: Mapping[str, Any], asked: Questions) -> dict[str, list[dict[str, float]]]:
    """Each part's numbers, one row an answer; a cue that the other culture lacks is left out there."""
    own = [
        metrics.listing(example, answer)
        | metrics.published(example, answer, asked.depths, compat=asked.compat)
        for example, answer in zip(asked.lists, said["lists"], strict=True)
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
    if said["rankings"]:
        marker = asked.texts.marker
        found["ranking"] = [
            metrics.ranked(example, answer, marker=marker)
            for example, answer in zip(asked.rankings, said["rankings"], strict=True)
        ]
    return found


def _estimates(rows: Rows, groups: Sequence[str] | None) -> dict[str, Any]:
    """Each number's mean; several questions on one cue stand or fall together."""
    found = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        places = [place for place, row in enumerate(rows) if name in row]
        clusters = [groups[place] for place in places] if groups else None
        found[name] = asdict(mean_interval([rows[place][name] for place in places], clusters=clusters))
    return found


def _changes(before: Rows, after: Rows, groups: Sequence[str] | None) -> dict[str, Any]:
    changed = {}
    for name in dict.fromkeys(name for row in after for name in row):
        places = [
            place
            for place, (old, new) in enumerate(zip(before, after, strict=True))
            if name in old and name in new
        ]
        if places:
            clusters = [groups[place] for place in places] if groups else None
            old, new = ([rows[place][name] for place in places] for rows in (before, after))
            changed[name] = asdict(paired_difference(old, new, clusters=clusters))
    return changed


def _survey(said: Mapping[str, Sequence[Sequence[float]]], asked: Questions, base: str) -> dict[str, Any]:
    """Each arm against the base, if there is one, on the items that both countries answered."""
    items = shift.both(asked.items, asked.source, asked.target)
    places = [
        place for place, item in enumerate(asked.items) if {asked.source, asked.target} <= set(item.shares)
    ]

    def of(name: str) -> list[tuple[float, ...]]:
        return [tuple(said[name][place]) for place in places]

    document: dict[str, Any] = {}
    for name in said:
        if name == base or base not in said:
            where = shift.position(items, of(name), asked.source, asked.target)
            document[name] = {"base" if name == base else "tuned": where, "items": len(items)}
        else:
            document[name] = shift.compared(
                items, of(base), of(name), asked.source, asked.target, compat=asked.compat
            )
    return {"source": asked.source, "target": asked.target, "arms": document}
