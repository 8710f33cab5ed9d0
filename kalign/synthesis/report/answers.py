"""What became of the generators' answers, by category and by model: a block is no answer, and is counted."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from markupsafe import Markup

from kalign import pages, statistics
from kalign.providers import Status
from kalign.records import Candidate, Response
from kalign.synthesis.work import Work

BLOCKS = (Status.BLOCKED.value, Status.REFUSED.value)


def parts(work: Work, responses: Sequence[Response]) -> Iterator[Markup]:
    """Yield a table by category and one by model."""
    candidates = [(row.attack.category, one) for row in responses for one in row.candidates]
    if not candidates:
        yield pages.text("No generator was asked.", soft=True)
        return
    named = {one.id: f"{one.id} {work.pack.named(one.name)}" for one in work.pack.taxonomy.categories}
    by_category = {
        label: [one for category, one in candidates if category == name] for name, label in named.items()
    }
    yield _table("category", by_category)
    models = sorted({one.origin.model for _, one in candidates if one.origin})
    by_model = {
        name: [one for _, one in candidates if one.origin and one.origin.model == name] for name in models
    }
    yield _table("model", by_model)


def _table(by: str, groups: Mapping[str, Sequence[Candidate]]) -> Markup:
    rows = []
    for label, of in groups.items():
        if not of:
            continue
        reasons = Counter(one.dropped for one in of)
        blocked = sum(reasons.pop(kind, 0) for kind in BLOCKS)
        good = reasons.pop("", 0)
        others = ", ".join(f"{reason} {count:,}" for reason, count in sorted(reasons.items()))
        rows.append([label, f"{len(of):,}", f"{good:,}", _share(blocked, len(of)), others or "none"])
    columns = [by, "answers", "good enough", "blocked or refused [95 %]", "not good enough"]
    return pages.table(columns, rows, caption=f"Answers by {by}.")


def _share(count: int, of: int) -> str:
    return f"{count:,}: {statistics.wilson(count, of)}" if count else "0"
