"""What was dropped, by reason, with some examples behind a click."""

from collections import Counter
from collections.abc import Iterator

from markupsafe import Markup

from kalign import pages
from kalign.records import Attack, Judged, Response, Seed, Vote
from kalign.synthesis.tally import Tally
from kalign.synthesis.triplets import Selection


def parts(tally: Tally, selection: Selection | None) -> Iterator[Markup]:
    """Yield a fold for each reason of each stage."""
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
        counts = Counter(f"{one.strategy} {one.outcome}" for one in row.tries)
        tries = ", ".join(f"{said} {count}" for said, count in counts.items())
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
    """Why a vote is none, or what it says besides yes."""
    others = [f"{name} {verdict}" for name, verdict in vote.verdicts.items() if verdict != "yes"]
    return vote.reason or ", ".join(others) or "yes to all"
