"""Whose models these were, what they were asked, what that cost, and how long it took."""

from collections.abc import Iterator, Mapping

from markupsafe import Markup

from kalign import pages
from kalign.synthesis.folder import Folder
from kalign.synthesis.work import Work


def models(work: Work) -> Iterator[Markup]:
    """Yield the table of roles."""
    licences = {f"{one.name}:{one.model}": one.licence.name or "not known" for one in work.cast.all}
    yield pages.table(
        ["role", "model", "family", "licence"],
        [[role, model, family, licences[model]] for role, model, family in work.cast.roles()],
    )


def parts(folder: Folder) -> Iterator[Markup]:
    """Yield the table of calls, and a sentence with the sums."""
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
