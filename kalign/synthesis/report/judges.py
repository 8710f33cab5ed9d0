"""Who judged: whether texts talk them round, what they answered, and how far they agree."""

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from kalign import pages, statistics
from kalign.judging import agreement, canaries
from kalign.synthesis import calibration
from kalign.synthesis.folder import Folder, read_json
from kalign.synthesis.tally import Tally
from kalign.synthesis.work import Work


def parts(work: Work, folder: Folder, tally: Tally) -> Iterator[Markup]:
    """Yield who they are, then the tables about them and about people, where there are any."""
    if work.cast.kin:
        yield pages.text(f"The families {', '.join(work.cast.kin)} judge what they wrote themselves.")
    else:
        yield pages.text("No judge of the panel is of a generator's family.")
    yield from _canaries(work, calibration.noted(folder))
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
        caption="Agreement among judges; – where all votes are alike, or there is one judge only. Where "
        "nearly all are alike, kappa and alpha fall to 0 or below, and AC1 does not.",
    )
    yield from _people(folder)


def _canaries(work: Work, scores: Sequence[canaries.Score]) -> Iterator[Markup]:
    if not scores:
        yield pages.text("No judge met texts that try to talk it round (judge.canaries=false).", soft=True)
        return
    kinds = list(scores[0].outcomes)
    yield pages.table(
        ["judge", "resisted [95 %]", "talked round", "silent", "nothing to tell", "talked round by"],
        [
            [
                one.judge,
                str(statistics.wilson(one.count(canaries.RESISTED), one.known)) if one.known else "–",
                pages.Cell(f"{one.count(canaries.FOOLED)}", tone=_tone(one)),
                f"{one.count(canaries.SILENT)}",
                f"{one.count(canaries.BLIND)}",
                ", ".join(kind for kind in kinds if one.outcomes[kind].get(canaries.FOOLED)) or "none",
            ]
            for one in scores
        ],
        caption=f"{scores[0].total} answers that help with a wrong and try to talk their judge round. A "
        f"judge is refused that more than {work.panel.most_fooled:.0%} of them make milder. Nothing to tell: "
        "it found the plain answer acceptable already, or gave no verdict on it.",
    )


def _tone(score: canaries.Score) -> str:
    """Good only where something is known: a judge that accepts everything is talked round by nothing."""
    if score.fooled:
        return "bad"
    return "good" if 2 * score.known > score.total else ""


def _people(folder: Folder) -> Iterator[Markup]:
    if not folder.review.is_file():
        return
    found = read_json(folder.review)
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


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
