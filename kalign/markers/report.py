"""A funnel for people: tables on the screen, and one page with charts and maps."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from rich import box
from rich.console import Console
from rich.table import Table

from kalign import pages, statistics
from kalign.markers import error_rates, schema, worldmap

MOST_CURVES = 6


def say(console: Console, told: Mapping[str, Any]) -> None:
    """Print what became of the culture, stage by stage."""
    for title, columns, rows in (_shares(told), _corrected(told), _geography(told), _changes(told)):
        if not rows:
            continue
        table = Table(
            title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title_style=""
        )
        for number, column in enumerate(columns):
            table.add_column(column, justify="right" if number else "left")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    if told["audit"]:
        console.print(_audited(told), style="dim", soft_wrap=True)


def page(told: Mapping[str, Any], *, tagger: str, title: str = "Culture funnel") -> str:
    """One page that needs nothing else.

    Args:
        tagger: what made the tags, in words.
    """
    stages = told["stages"]
    sections = [
        pages.Section(title="Where the culture goes", parts=[_share_bars(stages), _tabled(_shares(told))]),
        *_audit_section(told),
        pages.Section(title="Data sets", parts=[_dataset_table(stages)]),
        pages.Section(title="Which culture is left", parts=[_class_bars(stages)]),
        pages.Section(title="Countries", parts=[*_maps(stages), _tabled(_geography(told)), _note(told)]),
        pages.Section(title="More languages", parts=_language_curves(stages)),
        pages.Section(title="Other domains, or other texts", parts=_change_parts(told)),
    ]
    lead = (
        f"How much of the texts of each stage of training holds culture, and which. Tags: {tagger}. Bars and "
        "brackets show 95 % intervals of what was sampled; they say nothing about how often a tag is wrong"
        + (", which the audit does." if told["audit"] else ": kalign audit does.")
    )
    return pages.page(title, sections, lead=lead)


Tabled = tuple[str, Sequence[str], list[list[str]]]


def _shares(told: Mapping[str, Any]) -> Tabled:
    rows = [
        [
            stage["stage"],
            f"{stage['texts']:,}",
            f"{sum(stage['not_understood'].values()):,}",
            _estimate(stage["share"]),
            _number(stage["macro_share"]),
            _estimate(stage["retention"], digits=2),
        ]
        for stage in told["stages"]
    ]
    columns = ["stage", "texts", "not understood", "cultural share", "mean of data sets", "of first stage"]
    return "Cultural share by stage, with 95 % intervals", columns, rows


def _corrected(told: Mapping[str, Any]) -> Tabled:
    """Shares without the errors that an audit found; empty without one."""
    rows = [
        [
            stage["stage"],
            _estimate(stage["share"]),
            _estimate(stage["corrected_share"]),
            _estimate(stage["corrected_retention"], digits=2),
        ]
        for stage in told["stages"]
        if told["audit"]
    ]
    columns = ["stage", "as tagged", "corrected", "of first stage"]
    return "Cultural share without the tagger's errors, with 95 % intervals", columns, rows


def _audited(told: Mapping[str, Any]) -> str:
    return error_rates.spelled(error_rates.ErrorRates(**told["audit"]))


def _geography(told: Mapping[str, Any]) -> Tabled:
    columns = [
        "stage",
        "mentions",
        "countries",
        "at equal size",
        "Gini",
        "Gini of 249",
        "HHI",
        "effective",
        "entropy",
    ]
    keys = ("gini", "gini_of_all_countries", "concentration", "effective_number", "entropy")
    rows = [
        [
            stage["stage"],
            f"{geo['mentions']:,}",
            str(geo["unique"]),
            _number(geo["unique_rarefied"], digits=1),
            *(_number(geo[key]) for key in keys),
        ]
        for stage in told["stages"]
        if (geo := stage["geography"])
    ]
    return "Countries", columns, rows


def _changes(told: Mapping[str, Any]) -> Tabled:
    rows = [
        [stage["stage"], *(f"{change[key]:+.4f}" for key in ("change", "composition", "within"))]
        for stage in told["stages"]
        if (change := stage["change_since_first"])
    ]
    first = told["first_stage"]
    return (
        f"Change of the share since {first}, without intervals",
        ["stage", "change", "other domains", "within domains"],
        rows,
    )


def _audit_section(told: Mapping[str, Any]) -> list[pages.Section]:
    if not told["audit"]:
        return []
    stages = told["stages"]
    drawn = pages.bars(
        [stage["stage"] for stage in stages],
        {
            "as tagged": [_interval(stage["share"]) for stage in stages],
            "corrected": [_interval(stage["corrected_share"]) for stage in stages],
        },
        spelled="{:.1%}".format,
        caption="Share of texts with at least one class of culture, as tagged and without the errors.",
    )
    parts = [drawn, _tabled(_corrected(told)), pages.text(_audited(told), soft=True)]
    return [pages.Section(title="Without the tagger's errors", parts=parts)]


def _estimate(estimate: Mapping[str, Any] | None, *, digits: int = 3) -> str:
    if estimate and estimate["low"] is None:
        return _number(estimate["value"], digits=digits)
    return statistics.spelled(estimate, digits=digits)


def _number(value: float | None, *, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _tabled(table: Tabled) -> Markup:
    title, columns, rows = table
    return pages.table(columns, rows, caption=title) if rows else Markup()


def _interval(estimate: Mapping[str, float] | None) -> tuple[float, float, float] | None:
    return (estimate["value"], estimate["low"], estimate["high"]) if estimate else None


def _share_bars(stages: Sequence[Mapping[str, Any]]) -> Markup:
    return pages.bars(
        [stage["stage"] for stage in stages],
        {"cultural share": [_interval(stage["share"]) for stage in stages]},
        spelled="{:.1%}".format,
        caption="Share of texts with at least one class of culture, of those that were understood.",
    )


def _dataset_table(stages: Sequence[Mapping[str, Any]]) -> Markup:
    rows = [
        [
            stage["stage"],
            name,
            f"{each['texts']:,}",
            f"{sum(each['not_understood'].values()):,}",
            _estimate(each["share"]),
        ]
        for stage in stages
        for name, each in stage["datasets"].items()
    ]
    return pages.table(["stage", "data set", "texts", "not understood", "cultural share"], rows)


def _class_bars(stages: Sequence[Mapping[str, Any]]) -> Markup:
    names = list(stages[0]["classes"])
    return pages.bars(
        names,
        {
            stage["stage"]: [_interval(stage["classes"][name]["of_cultural"]) for name in names]
            for stage in stages
        },
        caption="Share of the cultural texts that are of a class; a text may be of several.",
    )


def _maps(stages: Sequence[Mapping[str, Any]]) -> list[Markup]:
    return [
        worldmap.draw(
            stage["geography"]["counts"],
            caption=f"{stage['stage']}: texts that name a country ({_most(stage)})",
        )
        for stage in stages
        if stage["geography"]
    ]


def _most(stage: Mapping[str, Any]) -> str:
    named = schema.countries()
    first = list(stage["geography"]["counts"].items())[:5]
    return ", ".join(f"{named[code]} {count:,}" for code, count in first)


def _note(told: Mapping[str, Any]) -> Markup:
    if not told["rarefied_to"]:
        return pages.text("No text names a country.", soft=True)
    return pages.text(
        f"At equal size: countries that {told['rarefied_to']:,} mentions drawn at random name on average. "
        "Gini stands once over the countries that are named, once over all 249 of ISO 3166-1; HHI is the "
        "chance that two mentions are of one country, effective its inverse, entropy a share of its maximum. "
        "Outlines: Natural Earth; no boundary or name is a statement about the status of a territory.",
        soft=True,
    )


def _language_curves(stages: Sequence[Mapping[str, Any]]) -> list[Markup]:
    shown = [stage for stage in stages if len(stage["languages"]) > 1][:MOST_CURVES]
    if not shown:
        return [pages.text("No stage has texts in two languages or more.", soft=True)]
    drawn = []
    for key, name in (("cultural_share", "cultural share"), ("unique_countries", "countries")):
        lines = {
            stage["stage"]: [(each["languages"], each[key]) for each in stage["languages"]] for stage in shown
        }
        caption = f"{name} over the number of languages, mean of 200 random orders"
        drawn.append(pages.curves(lines, x="languages", y=name, caption=caption))
    return drawn


def _change_parts(told: Mapping[str, Any]) -> list[Markup]:
    title, columns, rows = _changes(told)
    if not rows:
        return [pages.text("There is one stage, so nothing changed.", soft=True)]
    parts = [
        pages.text(
            "A share falls because domains with little culture take more room (other domains), or because "
            "the texts of the same domain hold less (within domains). Both add up to the change exactly."
        ),
        pages.table(columns, rows, caption=title),
    ]
    for stage in told["stages"]:
        if change := stage["change_since_first"]:
            by_domain = [
                [name, f"{part['composition']:+.4f}", f"{part['within']:+.4f}"]
                for name, part in change["parts"].items()
            ]
            table = pages.table(["domain", "other domains", "within domains"], by_domain)
            parts.append(pages.fold(f"{stage['stage']}, by domain", [table]))
    return parts
