"""What became of the generators' answers, by category and by model: a block is no answer, and is counted."""

from collections import Counter
from collections.abc import Iterator, Mapping

from markupsafe import Markup

from kalign import pages, statistics
from kalign.providers import Status
from kalign.synthesis.tally import Tally
from kalign.synthesis.work import Work

BLOCKS = (Status.BLOCKED.value, Status.REFUSED.value)


def parts(work: Work, tally: Tally) -> Iterator[Markup]:
    """Yield a table by category and one by model."""
    if not tally.answers_by_model:
        yield pages.text("No generator was asked.", soft=True)
        return
    by_category = {
        f"{one.id} {work.pack.named(one.name)}": tally.answers_by_category[one.id]
        for one in work.pack.taxonomy.categories
        if one.id in tally.answers_by_category
    }
    yield _table("category", by_category)
    yield _table("model", dict(sorted(tally.answers_by_model.items())))


def _table(by: str, groups: Mapping[str, Counter[str]]) -> Markup:
    rows = []
    for label, counts in groups.items():
        total, good = counts.total(), counts[""]
        blocked = sum(counts[kind] for kind in BLOCKS)
        rest = {reason: count for reason, count in sorted(counts.items()) if reason not in ("", *BLOCKS)}
        others = ", ".join(f"{reason} {count:,}" for reason, count in rest.items())
        share = f"{blocked:,}: {statistics.wilson(blocked, total)}" if blocked else "0"
        rows.append([label, f"{total:,}", f"{good:,}", share, others or "none"])
    columns = [by, "answers", "good enough", "blocked or refused [95 %]", "not good enough"]
    return pages.table(columns, rows, caption=f"Answers by {by}.")
