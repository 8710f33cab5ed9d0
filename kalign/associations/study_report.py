"""A study on the screen and as a page: every arm beside its controls, with intervals."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from kalign import pages
from kalign.associations import numbers
from kalign.pages import Section

# What the table shows, and how it is headed
SHOWN = (
    ("own", "p@5_top5", "own P@5"),
    ("own", "p@5_any", "own P@5 any"),
    ("other", "p@5_top5", "other P@5"),
    ("contrast", "p@5_top5", "own-other"),
    ("own", "format_rate", "form"),
    ("ranking", "spearman_strict", "ranking"),
    ("ranking", "format_rate", "rank form"),
)
MEANING = {
    "base": "the model as it is",
    "sft": "fine-tuned on the own culture",
    "shuffled": "control: the same budget on cues with other cues' associates",
    "other": "control: fine-tuned on the other culture",
    "rank": "the base, rewarded for ranking",
    "sft_rank": "fine-tuned, then rewarded for ranking",
}


def say(document: Mapping[str, Any], console: Console, out: object) -> None:
    """Print the means over seeds, the survey, and where everything lies."""
    seeds = document["seeds"]
    table = Table(
        title=f"Held-out cues ({seeds[0]['cues']}), mean over {len(seeds)} seeds", title_justify="left"
    )
    table.add_column("arm")
    for _, _, name in SHOWN:
        table.add_column(name, justify="right")
    for arm, parts in document["mean"].items():
        table.add_row(arm, *(numbers.value(parts.get(part, {}).get(name)) for part, name, _ in SHOWN))
    console.print(table)
    for arm in document["mean"]:
        console.print(f"{arm}: {MEANING[arm]}", style="dim", soft_wrap=True)
    for line in findings(document):
        console.print(line, soft_wrap=True)
    console.print(f"Study: {out}/study.json · page: {out}/report.html", soft_wrap=True)


def findings(document: Mapping[str, Any]) -> list[str]:
    """What the controls allow to be said, a sentence each."""
    mean = document["mean"]
    own = {arm: parts["own"]["p@5_top5"]["value"] for arm, parts in mean.items()}
    ranking = {arm: _value(parts, "ranking", "spearman_strict") for arm, parts in mean.items()}
    lines = [
        f"SFT moves P@5 on the own culture from {own['base']:.2f} to {own['sft']:.2f}; the same budget on "
        f"shuffled cues gives {own['shuffled']:.2f}."
    ]
    if own["shuffled"] - own["base"] >= (own["sft"] - own["base"]) / 2 > 0:
        lines.append("The shuffled control moves at least half as much: what SFT shows is form, not culture.")
    if ranking["base"] is not None and ranking["sft"] is not None:
        lines.append(
            f"Cross-task damage: SFT on lists moves the ranking reward from {ranking['base']:.2f} to "
            f"{ranking['sft']:.2f}"
            + (
                f"; reward on rankings moves it to {ranking['rank']:.2f}, and P@5 to {own['rank']:.2f}."
                if "rank" in mean
                else "."
            )
        )
    places = axes(document)
    if places:
        spelled = ", ".join(f"{arm} {place:.2f}" for arm, place in places.items())
        lines.append(f"Survey axis (0: source country, 1: target country), mean over seeds: {spelled}.")
        moved = {arm: places[arm] - places["base"] for arm in ("sft", "shuffled") if arm in places}
        if moved["shuffled"] >= moved["sft"] / 2 > 0:
            lines.append(
                "The shuffled control moves the survey too: what moved it is the words that were heard, not "
                "what they were said of, so nothing is claimed of it."
            )
    return lines


def axes(document: Mapping[str, Any]) -> dict[str, float]:
    """Each arm's place between the two countries, the mean over seeds."""
    found: dict[str, list[float]] = {}
    for seed in document["seeds"]:
        for arm, row in seed.get("survey", {}).get("arms", {}).items():
            place = numbers.axis(row)
            if place is not None:
                found.setdefault(arm, []).append(place["value"])
    return {arm: sum(values) / len(values) for arm, values in found.items()}


def page(document: Mapping[str, Any]) -> str:
    """The whole study as one HTML page."""
    mean, seeds = document["mean"], document["seeds"]
    arms = list(mean)
    rows = [
        [arm, *(numbers.value(mean[arm].get(part, {}).get(name)) for part, name, _ in SHOWN)] for arm in arms
    ]
    series = {
        "own culture": [numbers.interval(mean[arm], "own", "p@5_top5") for arm in arms],
        "other culture": [numbers.interval(mean[arm], "other", "p@5_top5") for arm in arms],
    }
    sections = [
        Section(
            title="What changed",
            parts=[
                *(pages.text(line) for line in findings(document)),
                pages.bars(
                    arms, series, top=1.0, caption="P@5 on held-out cues; the line: lowest to highest seed"
                ),
                pages.table(["arm", *(head for _, _, head in SHOWN)], rows, caption="Means over seeds"),
                pages.table(["arm", "is"], [[arm, MEANING[arm]] for arm in arms]),
            ],
        )
    ]
    for seed in seeds:
        sections.append(
            Section(title=f"Seed {seed['seed']}", parts=[pages.fold("Every number", numbers.tables(seed))])
        )
    lead = (
        f"Learning {seeds[0]['own']} from its word associations: {seeds[0]['cues']} held-out cues, "
        f"{len(seeds)} seeds. Every arm stands beside its controls."
    )
    return pages.page("Word associations", sections, lead=lead)


def _value(parts: Mapping[str, Any], part: str, name: str) -> float | None:
    found = parts.get(part, {}).get(name)
    return None if found is None else float(found["value"])
