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
from kalign.synthesis.triplets import Selection
from kalign.synthesis.work import Work

NAME = "report.html"
EXAMPLES = 3  # of each reason
FAILED = "failed"  # a try that says nothing about the target
Made = Mapping[str, Sequence[Any]]  # records by stage
KINDS: Mapping[str, type[Any]] = {"seeds": Seed, "attack": Attack, "respond": Response, "judge": Judged}


def made(folder: Folder) -> Made:
    """What each stage that has run made, by stage."""
    return {stage: folder.read(stage, kind) for stage, kind in KINDS.items() if folder.of(stage).is_file()}


def funnel(rows: Made, selection: Selection | None) -> list[dict[str, Any]]:
    """For each stage: its rows, how many it kept, and how many it dropped, by reason."""
    found = [
        _line(stage, len(of), Counter(row.dropped for row in of if row.dropped)) for stage, of in rows.items()
    ]
    if selection is not None:
        late = Counter(_late(rows, selection).values())
        found.append(_line("triplets", len(selection.rows) + sum(late.values()), late))
    return found


def write(work: Work, folder: Folder, rows: Made, selection: Selection | None) -> None:
    """Write report.html; without a selection, of what there is so far."""
    sections = [
        Section(title="What came through", parts=[*_funnel(funnel(rows, selection))]),
        *([Section(title="Balance", parts=[*_balance(work, selection)])] if selection else []),
        Section(title="Attack success", parts=[*_attacks(work, rows.get("attack", []))]),
        Section(title="Judges", parts=[*_judges(work, folder, rows.get("judge", []))]),
        Section(title="What was dropped, and why", parts=[*_rejects(rows, selection)]),
        Section(title="Models", parts=[*_models(work)]),
        Section(title="Cost and time", parts=[*_account(folder)]),
    ]
    count = len(selection.rows) if selection else 0
    lead = (
        f"{count:,} of {work.pipeline.size:,} triplets. Pack {work.pack.name}, laws and institutions as of "
        f"{work.on}. This page holds harmful text behind its folds; keep it to yourself."
    )
    with atomic(folder.path / NAME) as partial:
        page = pages.page(f"{work.pipeline.name}: preference triplets", sections, lead=lead)
        partial.write_text(page, encoding="utf-8")


def _late(rows: Made, selection: Selection) -> dict[str, str]:
    """Why rows that the panel kept are not in the data set, by id."""
    kept = {row.id for row in rows.get("judge", []) if not row.dropped}
    return {name: reason for name, reason in selection.dropped.items() if name in kept}


def _line(stage: str, rows: int, dropped: Mapping[str, int]) -> dict[str, Any]:
    return {
        "stage": stage,
        "rows": rows,
        "kept": rows - sum(dropped.values()),
        "dropped": dict(sorted(dropped.items())),
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
    have = Counter(row["category"] for row in selection.rows)
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


def _attacks(work: Work, attacks: Sequence[Attack]) -> Iterator[Markup]:
    if not attacks:
        yield pages.text("No attack has run.", soft=True)
        return
    tries = [(attack, one) for attack in attacks for one in attack.tries]
    yield pages.text(
        f"Target {work.cast.target.model}. A seed succeeds when one answer of the target is scored "
        f"{work.pipeline.attack.success} or more; tries in which a model or a judge failed say nothing of it."
    )
    strategies = work.pipeline.attack.strategies
    yield _success(
        "strategy", {name: [one.outcome for _, one in tries if one.strategy == name] for name in strategies}
    )
    by_category: dict[str, list[str]] = {}
    for one in work.pack.taxonomy.categories:
        if of := [_outcome(attack) for attack in attacks if attack.category == one.id]:
            by_category[f"{one.id} {work.pack.named(one.name)}"] = of
    yield _success("category", by_category, what="seeds")
    targets = sorted({attack.target for attack in attacks})
    yield _success(
        "target",
        {name: [one.outcome for attack, one in tries if attack.target == name] for name in targets},
    )


def _outcome(attack: Attack) -> str:
    """What came of all tries of a seed."""
    if not attack.dropped:
        return SUCCESS
    return RESISTED if attack.dropped == RESISTED else FAILED


def _success(by: str, outcomes: Mapping[str, Sequence[str]], *, what: str = "answers") -> Markup:
    rows = []
    for label, of in outcomes.items():
        counts = Counter(of)
        known = counts[SUCCESS] + counts[RESISTED]
        rate = str(statistics.wilson(counts[SUCCESS], known)) if known else "–"
        rows.append([label, f"{known:,}", f"{counts[SUCCESS]:,}", rate, f"{len(of) - known:,}"])
    return pages.table([by, what, "unsafe", "share [95 %]", "failed"], rows, caption=f"Success by {by}.")


def _judges(work: Work, folder: Folder, judged: Sequence[Judged]) -> Iterator[Markup]:
    if work.cast.kin:
        yield pages.text(f"The families {', '.join(work.cast.kin)} judge what they wrote themselves.")
    else:
        yield pages.text("No judge of the panel is of a generator's family.")
    if not judged:
        yield pages.text("Nothing has been judged.", soft=True)
        return
    panels = [row.votes for row in judged]
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
    passed = {name: Counter(row.decisions.get(name) for row in judged) for name in judged[0].decisions}
    yield pages.table(
        ["criterion", "yes", "no", "undecided"],
        [[name, *(f"{of[word]:,}" for word in ("yes", "no", "undecided"))] for name, of in passed.items()],
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


def _rejects(rows: Made, selection: Selection | None) -> Iterator[Markup]:
    empty = True
    for stage, records in rows.items():
        by_reason: dict[str, list[Any]] = {}
        for row in records:
            if row.dropped:
                by_reason.setdefault(row.dropped, []).append(row)
        for reason, of in sorted(by_reason.items()):
            empty = False
            examples = [part for row in of[:EXAMPLES] for part in _example(row)]
            yield pages.fold(f"{stage}: {reason} ({len(of):,})", examples)
    if selection is not None:
        judged = {row.id: row for row in rows.get("judge", [])}
        late = _late(rows, selection)
        for reason in sorted(set(late.values())):
            names = [name for name, one in late.items() if one == reason]
            empty = False
            examples = [part for name in names[:EXAMPLES] for part in _example(judged[name])]
            yield pages.fold(f"triplets: {reason} ({len(names):,})", examples)
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
