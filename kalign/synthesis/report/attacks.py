"""How the target held: success by strategy, category and target."""

from collections import Counter
from collections.abc import Iterator, Mapping

from markupsafe import Markup

from kalign import pages, statistics
from kalign.synthesis.attack import RESISTED, SUCCESS
from kalign.synthesis.tally import Tally
from kalign.synthesis.work import Work


def parts(work: Work, tally: Tally) -> Iterator[Markup]:
    """Yield the tables of success."""
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
