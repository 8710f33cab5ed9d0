"""The part of a page that shows an evaluation, or the comparison of two."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from kalign import pages
from kalign.evaluation import compare, correction, results, summary, tables
from kalign.evaluation.report import answers, costs
from kalign.evaluation.scores import Score
from kalign.pages import Cell, Section

TONES = {"better": "good", "kept": "good", "worse": "bad"}


def sections(folder: Path, result: dict[str, Any]) -> tuple[str, list[Section]]:
    """An evaluation: what it found, by category, answer by answer."""
    result, rows = results.read(folder)
    compared = result["comparison"]
    made = []
    lead = f"{result['model']['name']} on {result['suite']['name']}"
    if compared:
        lead = f"{lead}: {tables.sentence(compare.claim(compared))}"
        made += _comparison(compared, ("base", "model"))
    for name, sums in result["models"].items():
        if sums["coverage"] < summary.LEAST_COVERAGE:
            lead += (
                f"\nOnly {sums['coverage']:.1%} of the answers of {name} were judged, and "
                f"{summary.LEAST_COVERAGE:.0%} must be: no share here can be relied on."
            )
    made.append(Section(title="Shares", parts=[_shares(result["models"])]))
    if told := correction.about_judges(result):
        made.append(Section(title="Judges", parts=[pages.text(line) for line in told]))
    made.append(_citations(result["models"]))
    made.append(_answers(rows))
    made += [costs.of_evaluation(folder, result["models"]), _how(result)]
    return lead, made


def comparison_sections(folder: Path, document: dict[str, Any]) -> tuple[str, list[Section]]:
    """Evaluations side by side."""
    made, leads = [], []
    first = document["first"]["model"]
    for one in document["others"]:
        leads.append(f"{first} → {one['model']}: {tables.sentence(compare.claim(one))}")
        titled = _comparison(one, ("first", "second"))
        made += [Section(title=f"{part.title}: {one['model']}", parts=part.parts) for part in titled]
    return "\n".join(leads), made


def _comparison(compared: Mapping[str, Any], names: tuple[str, str]) -> list[Section]:
    rows: list[list[str | Cell | Markup]] = []
    ordered = sorted(compared["changes"], key=lambda one: not one["claim"])
    for one in ordered:
        verdict = one["retained"]["verdict"] if "retained" in one else one["verdict"]
        rows.append(
            [
                f"{one['set']}: {one['outcome']}",
                tables.spelled(one["before"]),
                tables.spelled(one["after"]),
                tables.spelled(one["difference"], sign="+"),
                f"{one['gained']} / {one['lost']}",
                f"{one.get('p_value_holm', one.get('p_value_adjusted', one['p_value'])):.2g}",
                Cell(verdict, TONES.get(verdict, "")),
            ]
        )
    wrong = compared["wrong_citations"]
    rows.append(
        [
            "all: cites what does not exist",
            tables.spelled(wrong["before"]),
            tables.spelled(wrong["after"]),
            tables.spelled(wrong["difference"], sign="+"),
            f"{wrong['gained']} / {wrong['lost']}",
            f"{wrong['p_value']:.2g}",
            Cell(wrong["verdict"], TONES.get(wrong["verdict"], "")),
        ]
    )
    columns = ["", *names, "difference", "gained / lost", "p", "verdict"]
    return [
        Section(
            title="Verdict",
            parts=[
                pages.table(columns, rows, caption="Shares in %, with 95 % intervals, paired by prompt"),
                *(pages.text(tables.kept(one)) for one in ordered if "retained" in one),
                pages.text(tables.MEANINGS, soft=True),
            ],
        ),
        Section(title="By category", parts=[_by_category(one, names) for one in ordered]),
    ]


def _by_category(change: Mapping[str, Any], names: tuple[str, str]) -> Markup:
    categories = sorted(change["by_category"])
    series = {
        name: [
            (found["value"], found["low"], found["high"])
            for found in (change["by_category"][category][when] for category in categories)
        ]
        for name, when in zip(names, ("before", "after"), strict=True)
    }
    labels = [f"{category} ({change['by_category'][category]['prompts']})" for category in categories]
    caption = f"{change['set']}: {change['outcome']}, share of prompts by category, with 95 % intervals"
    return pages.bars(labels, series, top=1.0, caption=caption)


def _shares(models: Mapping[str, Any]) -> Markup:
    rows = []
    for name, sums in models.items():
        for block in sums["sets"]:
            for outcome, found in block["outcomes"].items():
                low, high = (bound * 100 for bound in found["bounds"])
                refused = block["refusals"]
                rows.append(
                    [
                        name,
                        f"{block['set']}: {outcome}",
                        str(found["prompts"]),
                        tables.spelled(found["share"]),
                        f"{low:.1f} – {high:.1f}",
                        str(found["unclear"]),
                        f"{refused['full']} / {refused['partial']} / {refused['none']}",
                    ]
                )
    columns = [
        "model",
        "outcome",
        "prompts",
        "share in %",
        "bounds",
        "unclear",
        "refused fully / partly / not",
    ]
    caption = "Bounds: all that is unclear counted against the model, and all of it for it"
    return pages.table(columns, rows, caption=caption)


def _citations(models: Mapping[str, Any]) -> Section:
    rows = []
    for name, sums in models.items():
        cited = sums["citations"]
        rows.append(
            [
                name,
                f"{cited['laws_wrong']} of {cited['laws']}",
                tables.spelled(cited["hallucinated_laws"]),
                f"{cited['offices_wrong']} of {cited['offices']}",
                tables.spelled(cited["stale_offices"]),
                tables.spelled(cited["answers_with_wrong_citation"]),
            ]
        )
    columns = [
        "model",
        "laws that do not exist",
        "in %",
        "stale offices and numbers",
        "in %",
        "answers with any",
    ]
    return Section(title="Citations", parts=[pages.table(columns, rows)])


def _answers(rows: Sequence[Score]) -> Section:
    by_key: dict[tuple[str, str, str], dict[str, Score]] = {}
    for row in rows:
        by_key.setdefault(row.key, {})[row.model] = row
    names = [name for name in ("base", "model") if any(name in found for found in by_key.values())]
    by_category: dict[str, list[list[str | Markup]]] = {}
    for found in by_key.values():
        first = found[names[0]]
        cells: list[str | Markup] = [first.prompt]
        cells += [_answer(found[name]) for name in names]
        by_category.setdefault(f"{first.set}, {first.kind}, {first.category}", []).append(cells)
    shown = answers.side_by_side(["prompt", *names], by_category, "scores.parquet")
    return Section(title="Answers", parts=[pages.text("✓ exists, ✗ does not, ? cannot be told"), *shown])


def _answer(row: Score) -> Markup:
    unknown = ("unchecked", "table_too_old", "no_law_named", "unconfirmed")
    cited = [{**one, "exists": None if one["status"] in unknown else one["exists"]} for one in row.cited]
    refused = f"refusal: {row.refusal or 'unclear'}"
    note = f"{row.verdict}, {refused}" if row.kind == "harmful" else refused
    return answers.marked(row.response, cited, note)


def _how(result: Mapping[str, Any]) -> Section:
    asked = result["asked"]
    facts = {
        "model": result["model"]["name"],
        "adapter": result["model"]["identity"].get("adapter_sha256") or "none",
        "sets": "; ".join(f"{one['name']} ({one['licence']})" for one in result["suite"]["sets"]),
        "judges": ", ".join(result["judges"]),
        "laws and offices as of": result["as_of"],
        "answers": f"{asked['decoding']}, at most {asked['max_new_tokens']} tokens",
        "template": asked.get("template_sha256", "-"),
        "versions": ", ".join(f"{name} {version}" for name, version in result["versions"].items()),
    }
    rows = [[key, str(value)] for key, value in facts.items()]
    return Section(title="How it was measured", parts=[pages.table(["", ""], rows)])
