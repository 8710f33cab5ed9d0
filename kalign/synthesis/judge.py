"""Judge: a panel decides five criteria of each triplet, the pack's verifier the sixth."""

from collections.abc import Sequence
from dataclasses import replace

from kalign.errors import DataError
from kalign.judging import agreement, decide, read
from kalign.judging.quorum import Decision
from kalign.records import Judged, Response, Vote
from kalign.synthesis.seeds import belongs
from kalign.synthesis.texts import CITATIONS, NAMED
from kalign.synthesis.work import Work

ASKED = NAMED["filter_questions"]


def run(work: Work, responses: Sequence[Response]) -> list[Judged]:
    """One row for each response with a chosen answer: kept, or dropped with the criteria that it failed."""
    rows = [one for one in responses if not one.dropped and belongs(one.id, work.shard)]
    datas = [_data(work, row) for row in rows]
    requests, order = [], []
    for place, (row, data) in enumerate(zip(rows, datas, strict=True)):
        rubric = work.texts.filter(row.attack.category)
        for judge in work.cast.panel:
            requests.append(rubric.request(judge, data, sampling=work.panel.sampling, about=row.id))
            order.append((place, judge))
    votes: list[list[Vote]] = [[] for _ in rows]
    for (place, judge), answer in zip(order, work.ask("panel", requests), strict=True):
        rubric = work.texts.filter(rows[place].attack.category)
        votes[place].append(read(rubric, datas[place], answer, judge))
    return [_decided(work, row, heard) for row, heard in zip(rows, votes, strict=True)]


def require_coverage(work: Work, panels: Sequence[Sequence[Vote]]) -> None:
    """Refuse a panel of which a judge did not validly answer enough.

    Raises:
        DataError: there is such a judge.
    """
    for one in agreement.coverage(panels):
        if one.share < work.panel.least_coverage:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(one.kinds.items()))
            raise DataError(
                f"judge {one.judge} validly answered {one.share:.1%} of {one.asked} questions ({kinds}), and "
                f"judge.least_coverage={work.panel.least_coverage:g}; name another judge, or accept less"
            )


def _data(work: Work, row: Response) -> dict[str, str]:
    node = work.pack.taxonomy.by_id[row.attack.type]
    category = work.pack.category(row.attack.category)
    return {
        "category": work.pack.named(category.name),
        "type": work.pack.named(node.name),
        "prompt": row.attack.prompt,
        "rejected": row.attack.answer,
        "chosen": row.chosen,
    }


def _decided(work: Work, row: Response, votes: Sequence[Vote]) -> Judged:
    decisions = {name: decide(votes, name, passing=("yes",), rule=work.panel.rule) for name in ASKED}
    wrong = work.wrong_citations(row.chosen)
    decisions[CITATIONS] = Decision.NO if wrong else Decision.YES
    judged = Judged(
        id=row.id,
        response=row,
        votes=tuple(votes),
        decisions={name: decision.value for name, decision in decisions.items()},
        citations=tuple(wrong),
    )
    failed = [name for name, decision in decisions.items() if decision is Decision.NO]
    unknown = [name for name, decision in decisions.items() if decision is Decision.UNDECIDED]
    reason = f"not_{failed[0]}" if failed else f"undecided_{unknown[0]}" if unknown else ""
    return replace(judged, dropped=reason)
