"""How the target held: success by strategy, category and target."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from markupsafe import Markup

from kalign import pages, statistics
from kalign.records import Attack
from kalign.synthesis.attack import RESISTED, SUCCESS
from kalign.synthesis.work import Work

FAILED = "failed"  # a try that says nothing about the target


def parts(work: Work, attacks: Sequence[Attack]) -> Iterator[Markup]:
    """Yield the tables of success."""
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
