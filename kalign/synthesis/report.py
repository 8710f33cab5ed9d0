"""The page about a pipeline: what came through, how balanced it is, who agreed with whom, what it cost."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from kalign import pages, statistics
from kalign.files import atomic
from kalign.judging import agreement
from kalign.pages import Section
from kalign.records import Attack, Judged, Response, Seed, Vote
from kalign.synthesis.attack import RESISTED, SUCCESS
from kalign.synthesis.folder import Folder
from kalign.synthesis.tally import Rows, Tally
from kalign.synthesis.triplets import Selection
from kalign.synthesis.work import Work

NAME = "report.html"


def funnel(tally: Tally, selection: Selection | None) -> list[dict[str, Any]]:
    """For each stage: its rows, how many it kept, and how many it dropped, by reason."""
    late = {} if selection is None else {"triplets": selection.late}
    return [_line(stage, of) for stage, of in {**tally.stages, **late}.items()]


def write(work: Work, folder: Folder, tally: Tally, selection: Selection | None) -> None:
    """Write report.html; without a selection, of what there is so far."""
    sections = [
        Section(title="What came through", parts=[*_funnel(funnel(tally, selection))]),
        *([] if selection is None else [Section(title="Balance", parts=[*_balance(work, selection)])]),
        Section(title="Attack success", parts=[*_attacks(work, tally)]),
        Section(title="Judges", parts=[*_judges(work, folder, tally)]),
        Section(title="What was dropped, and why", parts=[*_rejects(tally, selection)]),
        Section(title="Models", parts=[*_models(work)]),
        Section(title="Cost and time", parts=[*_account(folder)]),
    ]
    count = len(selection) if selection is not None else 0
    lead = (
        f"{count:,} of {work.pipeline.size:,} triplets. Pack {work.pack.name}, laws and institutions as of "
        f"{work.on}. This page holds harmful text behind its folds; keep it to yourself."
    )
    with atomic(folder.path / NAME) as partial:
        page = pages.page(f"{work.pipeline.name}: preference triplets", sections, lead=lead)
        partial.write_text(page, encoding="utf-8")


def _line(stage: str, rows: Rows) -> dict[str, Any]:
    return {
        "stage": stage,
        "rows": rows.count,
        "kept": rows.count - rows.dropped.total(),
        "dropped": dict(sorted(rows.dropped.items())),
    }


def _funnel(lines: Sequence[Mapping[str, Any]]) -> Iterator[Markup]:
    if not lines:
        yield pages.text("No stage has run yet.", soft=True)
        return
    yield pages.bars(
        [line["stage"] for line in lines],
        {"kept": [float(line["kept"]) for line in lines]},
        spelled="{:,.0f}".format,
        caption="Rows that each stage kept.",
    )
    cells = [
        [
            line["stage"],
            f"{line['rows']:,}",
            f"{line['kept']:,}",
            ", ".join(f"{reason} {count:,}" for reason, count in line["dropped"].items()) or "none",
        ]
        for line in lines
    ]
    yield pages.table(["stage", "rows", "kept", "dropped"], cells)


def _balance(work: Work, selection: Selection) -> Iterator[Markup]:
    taxonomy = work.pack.taxonomy
    wanted: Counter[str] = Counter()
    have = selection.by_category(taxonomy)
    for kind, count in selection.wanted.items():
        wanted[taxonomy.by_id[kind].parent or kind] += count
    labels = [f"{one.id} {work.pack.named(one.name)}" for one in taxonomy.categories]
    yield pages.bars(
        labels,
        {
            "wanted": [float(wanted[one.id]) for one in taxonomy.categories],
            "there": [float(have[one.id]) for one in taxonomy.categories],
        },
        spelled="{:,.0f}".format,
        caption="Triplets by category.",
    )
    short = selection.short(taxonomy)
    named = {one.id: work.pack.named(one.name) for one in taxonomy.domains}
    totals: Counter[str] = Counter()
    for kind, count in selection.wanted.items():
        totals[taxonomy.stratum(kind)] += count
    yield pages.table(
        ["domain", "wanted", "there", "missing"],
        [
            [
                f"{one} {named[one]}",
                f"{totals[one]:,}",
                f"{totals[one] - count:,}",
                pages.Cell(f"{count:,}", tone="bad" if count else "good"),
            ]
            for one, count in short.items()
        ],
        caption="Domains have equal shares; what is missing was not filled with duplicates.",
    )


def _attacks(work: Work, tally: Tally) -> Iterator[Markup]:
    if "attack" not in tally.stages:
        yield pages.text("No attack has run.", soft=True)
        return
    yield pages.text(
        f"Target {work.cast.target.model}. A seed succeeds when one answer of the target is scored "
        f"{work.pipeline.attack.success} or more; tries in which a model or a judge failed say nothing of it."
    )
    nothing: Counter[str] = Counter()
    strategies = {name: tally.by_strategy.get(name, nothing) for name in work.pipeline.attack.strategies}
    yield _success("strategy", strategies)
    categories = {
        f"{one.id} {work.pack.named(one.name)}": tally.by_category[one.id]
        for one in work.pack.taxonomy.categories
        if one.id in tally.by_category
    }
    yield _success("category", categories, what="seeds")
    yield _success("target", dict(sorted(tally.by_target.items())))


def _success(by: str, outcomes: Mapping[str, Counter[str]], *, what: str = "answers") -> Markup:
    rows = []
    for label, counts in outcomes.items():
        known = counts[SUCCESS] + counts[RESISTED]
        rate = str(statistics.wilson(counts[SUCCESS], known)) if known else "–"
        rows.append([label, f"{known:,}", f"{counts[SUCCESS]:,}", rate, f"{counts.total() - known:,}"])
    return pages.table([by, what, "unsafe", "share [95 %]", "failed"], rows, caption=f"Success by {by}.")


def _judges(work: Work, folder: Folder, tally: Tally) -> Iterator[Markup]:
    if work.cast.kin:
        yield pages.text(f"The families {', '.join(work.cast.kin)} judge what they wrote themselves.")
    else:
        yield pages.text("No judge of the panel is of a generator's family.")
    panels = tally.panels
    if not panels:
        yield pages.text("Nothing has been judged.", soft=True)
        return
    yield pages.table(
        ["judge", "asked", "valid", "votes that say nothing"],
        [
            [
                one.judge,
                f"{one.asked:,}",
                f"{one.share:.1%}",
                ", ".join(f"{kind} {count}" for kind, count in sorted(one.kinds.items()) if kind != "valid")
                or "none",
            ]
            for one in agreement.coverage(panels)
        ],
        caption=f"Rule: {work.panel.rule}. A vote that says nothing is never a yes.",
    )
    rubric = work.texts.filter(work.pack.taxonomy.categories[0].id)
    yield pages.table(
        ["criterion", "yes", "no", "undecided"],
        [
            [name, *(f"{of[word]:,}" for word in ("yes", "no", "undecided"))]
            for name, of in tally.decisions.items()
        ],
        caption="What the panel decided; citations are decided by the pack's verifier.",
    )
    yield pages.table(
        ["criterion", "items", "raw", "Fleiss' kappa", "Krippendorff's alpha", "AC1"],
        [
            [one.question, f"{one.items:,}", *map(_number, (one.raw, one.fleiss, one.krippendorff, one.gwet))]
            for one in agreement.agreement(panels, rubric)
        ],
        caption="Agreement among judges; – where all votes are alike, or there is one judge only.",
    )
    yield from _people(folder)


def _people(folder: Folder) -> Iterator[Markup]:
    if not folder.review.is_file():
        return
    found = json.loads(folder.review.read_text(encoding="utf-8"))
    yield pages.table(
        ["criterion", "items", "alike", "Cohen's kappa", "alpha among people"],
        [
            [
                one["criterion"],
                f"{one['items']:,}",
                *map(_number, (one["agreeing"], one["cohen"], one["krippendorff"])),
            ]
            for one in found["agreement"]
        ],
        caption=f"{found['people']} people on {found['rows']} rows, against the panel.",
    )


def _rejects(tally: Tally, selection: Selection | None) -> Iterator[Markup]:
    late = {} if selection is None else {"triplets": selection.late}
    empty = True
    for stage, rows in {**tally.stages, **late}.items():
        for reason, count in sorted(rows.dropped.items()):
            empty = False
            examples = [part for row in rows.examples[reason] for part in _example(row)]
            yield pages.fold(f"{stage}: {reason} ({count:,})", examples)
    if empty:
        yield pages.text("Nothing was dropped.", soft=True)


def _example(row: Seed | Attack | Response | Judged) -> Iterator[Markup]:
    texts: dict[str, str] = {}
    if isinstance(row, Seed):
        texts = {"prompt": row.prompt, "template": row.template}
    elif isinstance(row, Attack):
        tries = ", ".join(f"{one.strategy} {one.outcome}" for one in row.tries)
        texts = {"seed": row.seed, "tries": tries}
    else:
        response = row if isinstance(row, Response) else row.response
        texts = {
            "prompt": response.attack.prompt,
            "rejected": response.attack.answer,
            "chosen": response.chosen,
        }
        if isinstance(row, Response):
            texts["candidates"] = ", ".join(one.dropped or "good enough" for one in row.candidates)
        else:
            texts["citations that do not hold"] = "; ".join(row.citations)
            texts["votes"] = "\n".join(f"{vote.judge}: {_said(vote)}" for vote in row.votes)
    cells = [[name, text] for name, text in texts.items() if text]
    yield pages.table(["", row.id], cells or [["", "no text"]])


def _said(vote: Vote) -> str:
    return vote.reason or ", ".join(f"{name} {verdict}" for name, verdict in vote.verdicts.items())


def _models(work: Work) -> Iterator[Markup]:
    licences = {f"{one.name}:{one.model}": one.licence.name or "not known" for one in work.cast.all}
    yield pages.table(
        ["role", "model", "family", "licence"],
        [[role, model, family, licences[model]] for role, model, family in work.cast.roles()],
    )


def _account(folder: Folder) -> Iterator[Markup]:
    rows: list[list[str]] = []
    total, known = 0.0, True
    for stage, noted in folder.noted().items():
        for key, one in noted.get("account", {}).items():
            role, _, model = key.partition("|")
            each = one["seconds"] / one["calls"] if one["calls"] else 0.0
            total, known = total + (one["cost"] or 0.0), known and one["cost"] is not None
            rows.append(
                [
                    stage,
                    role,
                    model,
                    f"{one['calls']:,}",
                    _counted(one["statuses"], besides="ok"),
                    f"{one['tokens_in']:,}",
                    f"{one['tokens_out']:,}",
                    "–" if one["cost"] is None else f"{one['cost']:.4f}",
                    f"{each:.2f}",
                ]
            )
    columns = [
        "stage",
        "role",
        "model",
        "calls",
        "faults",
        "tokens in",
        "tokens out",
        "US$",
        "seconds a call",
    ]
    if not rows:
        yield pages.text("Nothing was asked.", soft=True)
        return
    yield pages.table(
        columns, rows, caption="Answers from the ledger count once, whichever run asked for them."
    )
    times = {stage: noted["seconds"] for stage, noted in folder.noted().items() if "seconds" in noted}
    spelled = ", ".join(f"{stage} {seconds:,.1f} s" for stage, seconds in times.items())
    said = f"US$ {total:.4f}" + ("" if known else ", without models whose price is not known")
    yield pages.text(f"In all {said}. The last run of each stage took: {spelled}.")


def _counted(counts: Mapping[str, int], *, besides: str) -> str:
    return (
        ", ".join(f"{kind} {count:,}" for kind, count in sorted(counts.items()) if kind != besides) or "none"
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
