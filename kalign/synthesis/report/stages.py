"""What came through each stage, and how balanced the rest is."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from kalign import pages
from kalign.synthesis.tally import Rows, Tally
from kalign.synthesis.triplets import Selection
from kalign.synthesis.work import Work


def lines(tally: Tally, selection: Selection | None) -> list[dict[str, Any]]:
    """For each stage: its rows, how many it kept, and how many it dropped, by reason."""
    late = {} if selection is None else {"triplets": selection.late}
    return [_line(stage, of) for stage, of in {**tally.stages, **late}.items()]


def parts(lines: Sequence[Mapping[str, Any]]) -> Iterator[Markup]:
    """Yield a chart and a table of what each stage kept."""
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


def balance(work: Work, selection: Selection) -> Iterator[Markup]:
    """Yield a chart by category and a table by domain."""
    taxonomy = work.pack.taxonomy
    have, wanted = selection.by_category(taxonomy), selection.wanted_by_category(taxonomy)
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


def _line(stage: str, rows: Rows) -> dict[str, Any]:
    return {
        "stage": stage,
        "rows": rows.count,
        "kept": rows.count - rows.dropped.total(),
        "dropped": dict(sorted(rows.dropped.items())),
    }
