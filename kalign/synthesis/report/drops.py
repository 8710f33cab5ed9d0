"""What was dropped, by reason, with some examples behind a click."""

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
