"""An evaluation on word associations, on the screen and as a page: the model beside base and controls."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from kalign import files, pages
from kalign.associations import numbers
from kalign.errors import IntegrityError
from kalign.pages import Section
from kalign.statistics import spelled

FILE, SCORES = "eval.json", "scores.parquet"
SYSTEM = "associations"  # by which a page knows what the folder is
# What the table shows: the part of the document, the number in it, and how it is called
SHOWN = (
    ("own", "p@5_top5", "own P@5 (top 5)"),
    ("own", "p@5_min2", "own P@5 (twice)"),
    ("own", "p@5_any", "own P@5 (any)"),
    ("own", "strength_recall@5", "own strength"),
    ("own", "rank_rho", "own order"),
    ("own", "format_rate", "lists in form"),
    ("other", "p@5_top5", "other P@5 (top 5)"),
    ("contrast", "p@5_top5", "own less other"),
    ("ranking", "spearman_strict", "rank reward"),
    ("ranking", "spearman_compat", "rank reward, paper"),
    ("ranking", "format_rate", "rankings in form"),
)
MEANING = {
    "base": "the model without what was learned",
    "base_shot": "the same, shown one example before each list",
    "model": "the model that is measured",
    "shuffled": "control: the same budget on cues with other cues' associates",
    "other": "control: trained on the other culture",
}
NOTES = (
    "P@5: the share of the first five words that are among the culture's five strongest associates, among "
    "those named twice and more, among all; survey axis: 0 answers like the source country, 1 like the "
    "target; behind valence and the like stands what people's words have"
)
WELL_FORMED = 0.95  # the share of lists in form below which a number may speak of form rather than content


def say(document: Mapping[str, Any], console: Console, folder: Path) -> None:
    """Print the table, what it lets one claim, and where everything lies."""
    arms = list(document["arms"])
    table = Table(
        title=f"{document['cues']} held-out cues, {document['ranking_questions']} rankings",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for name in ("", *arms, *(["change [95 %]"] if document["changes"] else [])):
        table.add_column(name, justify="right" if name else "left", no_wrap=bool(name))
    for row in lines(document):
        table.add_row(*row)
    console.print(table)
    for arm in arms:
        meant = f"{arm}: {MEANING.get(arm, 'control')} ({document['models'][arm]['name']})"
        console.print(meant, style="dim", soft_wrap=True)
    console.print(NOTES, style="dim", soft_wrap=True)
    for line in findings(document):
        console.print(line, soft_wrap=True)
    console.print(f"Every answer: {folder / SCORES} · sums: {folder / FILE}", soft_wrap=True)
    console.print(f"Page: kalign report {folder}", soft_wrap=True)


def lines(document: Mapping[str, Any]) -> list[list[str]]:
    """The rows of the table: each number of every arm, and the model's change against the base."""
    arms, changes = document["arms"], document["changes"].get("model", {})
    made = []
    for part, number, called in SHOWN:
        found = [arms[arm].get(part, {}).get(number) for arm in arms]
        if any(found):
            made.append([called, *map(numbers.value, found), _changed(changes.get(part, {}).get(number))])
    survey = document.get("survey", {}).get("arms", {})
    if survey:
        placed = [survey.get(arm, {}) for arm in arms]
        made.append(["survey axis", *(numbers.value(numbers.axis(row)) for row in placed), ""])
        shifts = [row.get("shift") for row in placed]
        if any(shifts):
            moved = _changed(survey.get("model", {}).get("shift"))
            made.append(["survey shift", *map(numbers.value, shifts), moved])
    for dimension, rows in document.get("affect", {}).items():
        values = [rows[arm]["mean_of_medians"] for arm in ("human", *arms)]
        people, *shown = ["-" if value is None else f"{value:.2f}" for value in values]
        made.append([f"{dimension}, {people}", *shown, _closer(rows["model"])])
    return made if document["changes"] else [row[:-1] for row in made]


def findings(document: Mapping[str, Any]) -> list[str]:
    """What numbers and controls allow to be said, a sentence each."""
    change = document["changes"].get("model", {}).get("own", {}).get("p@5_top5")
    if change is None:
        return ["Without base= nothing is compared; base=true asks the model without its adapter too."]
    said = [f"P@5 on the own culture changes by {_changed(change)}: {_verdict(change)}."]
    contrast = document["changes"]["model"].get("contrast", {}).get("p@5_top5")
    if contrast:
        said.append(f"Against the other culture it changes by {_changed(contrast)}: {_verdict(contrast)}.")
    shuffled = document["changes"].get("shuffled")
    if shuffled is None:
        said.append(
            "arms.shuffled=RUN is not given, so nothing shows how much of it is form rather than culture."
        )
    elif shuffled["own"]["p@5_top5"]["value"] >= change["value"] / 2 > 0:
        said.append("The shuffled control moves at least half as much: what is seen is form, not culture.")
    else:
        said.append(f"The shuffled control changes by {_changed(shuffled['own']['p@5_top5'])}.")
    ranking = document["changes"]["model"].get("ranking", {}).get("spearman_strict")
    if ranking:
        said.append(f"The ranking reward changes by {_changed(ranking)}: {_verdict(ranking)}.")
    form = document["arms"]["model"]["own"]["format_rate"]["value"]
    if form < WELL_FORMED:
        said.append(f"Only {form:.0%} of the model's lists have five different words.")
    return said + _surveyed(document)


def _surveyed(document: Mapping[str, Any]) -> list[str]:
    survey = document.get("survey", {}).get("arms", {})
    shift = survey.get("model", {}).get("shift")
    if not shift:
        return []
    where = document["survey"]["target"]
    said = [f"Survey answers move towards {where} by {_changed(shift)}: {_verdict(shift)}."]
    shuffled = survey.get("shuffled", {}).get("shift")
    if shuffled and shuffled["value"] >= shift["value"] / 2 > 0:
        said.append(
            "The shuffled control moves them at least half as much, so nothing is claimed of the survey."
        )
    return said


def sections(folder: Path, document: dict[str, Any]) -> tuple[str, list[Section]]:
    """The part of a page that shows such an evaluation.

    Raises:
        IntegrityError: the scores are not those that it was made of.
    """
    if files.sha256(folder / SCORES) != document["scores_sha256"]:
        raise IntegrityError(f"{folder / SCORES} is not what {FILE} was made of; evaluate again")
    arms = list(document["arms"])
    bars = {
        culture: [numbers.interval(document["arms"][arm], part, "p@5_top5") for arm in arms]
        for culture, part in (("own culture", "own"), ("other culture", "other"))
        if any(document["arms"][arm].get(part) for arm in arms)
    }
    head = ["", *arms, *(["change [95 %]"] if document["changes"] else [])]
    named = [[arm, MEANING.get(arm, "control"), document["models"][arm]["name"]] for arm in arms]
    lead = f"{document['models']['model']['name']} on word associations of {document['own']}"
    how = {**document["suite"], **document["asked"], "versions": document["versions"]}
    return lead, [
        Section(
            title="Word associations",
            parts=[
                *(pages.text(line) for line in findings(document)),
                pages.bars(arms, bars, top=1.0, caption="P@5 on held-out cues, with 95 % intervals"),
                pages.table(head, lines(document), caption="Means; the change is paired"),
                pages.text(NOTES, soft=True),
                pages.table(["arm", "is", "model"], named),
            ],
        ),
        Section(title="Every number", parts=numbers.tables(document)),
        Section(title="Answers", parts=[_answers(folder / SCORES, arms)]),
        Section(
            title="How it was measured",
            parts=[pages.table(["", ""], [[key, _plain(value)] for key, value in how.items()])],
        ),
    ]


def _answers(path: Path, arms: list[str]) -> Any:
    """Every list, the arms side by side; the rest is in the file."""
    by_cue: dict[str, dict[str, str]] = {}
    for _, row in files.read_parquet(path):
        if row["part"] == "lists":
            by_cue.setdefault(row["cue"], {})[row["arm"]] = row["response"]
    cells = [[cue, *(found.get(arm, "-") for arm in arms)] for cue, found in by_cue.items()]
    return pages.fold(f"{len(cells)} lists", [pages.table(["cue", *arms], cells)])


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "none"
    return "none" if value is None else str(value)


def _changed(found: Mapping[str, float] | None) -> str:
    return spelled(found, digits=2, sign="+", none="")


def _verdict(change: Mapping[str, float]) -> str:
    if change["low"] == change["high"]:
        return "too few answers to tell it from chance"
    if change["low"] > 0:
        return "higher"
    return "lower" if change["high"] < 0 else "no change that can be told from chance"


def _closer(row: Mapping[str, Any]) -> str:
    test = row.get("closer_than_base")
    return "" if test is None else f"closer: p {test['holm']:.2g}"
