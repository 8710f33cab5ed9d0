"""What was dropped, by reason, with some examples behind a click."""

from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from kalign import pages
from kalign.records import Attack, Judged, Response, Seed, Vote
from kalign.synthesis.report.stages import Made, late
from kalign.synthesis.triplets import Selection

EXAMPLES = 3  # of each reason


def parts(rows: Made, selection: Selection | None) -> Iterator[Markup]:
    """Yield a fold for each reason of each stage."""
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
        gone = late(rows, selection)
        for reason in sorted(set(gone.values())):
            names = [name for name, one in gone.items() if one == reason]
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
