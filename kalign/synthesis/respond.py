"""Respond: several models answer each attack under the policy of its category; the best answer wins."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from kalign.providers import Answer, Provider
from kalign.records import Attack, Candidate, Response
from kalign.synthesis.seeds import belongs
from kalign.synthesis.work import Work, origin, whole


def run(work: Work, attacks: Iterable[Attack]) -> Iterator[Response]:
    """One row for each successful attack: with the chosen answer, or dropped with its reason."""
    live = (one for one in attacks if not one.dropped and belongs(one.id, work.shard))
    used: Counter[str] = Counter()
    for row in work.blocks(live, lambda block: _responses(work, block)):
        yield _won(row, used)


def _responses(work: Work, attacks: Sequence[Attack]) -> list[Response]:
    """The rows with all their candidates, before one of them wins."""
    rows = _queried(work, [Response(id=attack.id, attack=_masked(work, attack)) for attack in attacks])
    answered = _answered(work, [row for row in rows if not row.dropped])
    return [answered.get(row.id, row) for row in rows]


def _masked(work: Work, attack: Attack) -> Attack:
    """The attack without personal data, which a file of the user's own may hold; nobody is sent it."""
    (prompt, asked), (answer, said) = work.mask(attack.prompt), work.mask(attack.answer)
    if not (asked or said):
        return attack
    return replace(attack, prompt=prompt, answer=answer, masked=(*attack.masked, *asked, *said))


def _queried(work: Work, rows: Sequence[Response]) -> list[Response]:
    """The rows with the score of their query; weak queries are dropped."""
    asked = [(work.texts.query(row.attack.type), {"request": row.attack.prompt}, row.id) for row in rows]
    scored = []
    for row, vote in zip(rows, work.votes("query judge", asked, work.cast.judge), strict=True):
        if not vote.valid:
            scored.append(replace(row, dropped=f"query_{vote.kind.value}"))
            continue
        score = int(vote.verdicts["query"])
        weak = "weak_query" if score < work.pipeline.respond.least_query else ""
        scored.append(replace(row, query=score, dropped=weak))
    return scored


def _answered(work: Work, rows: Sequence[Response]) -> dict[str, Response]:
    """The rows with all their candidates, scored, by id."""
    generators = work.cast.generators
    slots = range(work.pipeline.respond.candidates)
    asked = [
        (row, generators[slot % len(generators)], slot // len(generators)) for row in rows for slot in slots
    ]
    requests = [
        work.chat(
            generator,
            work.texts.generator(row.attack.category),
            row.attack.prompt,
            sampling=work.pipeline.sampling.generator,
            sample=sample,
            about=row.id,
        )
        for row, generator, sample in asked
    ]
    candidates = [_candidate(work, answer) for answer in work.ask("generator", requests)]
    candidates = _scored(work, [row for row, _, _ in asked], candidates)
    several = len(slots)
    return {
        row.id: replace(row, candidates=tuple(candidates[place * several : (place + 1) * several]))
        for place, row in enumerate(rows)
    }


def _candidate(work: Work, answer: Answer) -> Candidate:
    """An answer with what rules alone can say against it."""
    if not answer.ok:
        return Candidate(answer="", origin=origin(answer), dropped=answer.status.value)
    text, masked = work.mask(whole(answer.text))
    made = Candidate(answer=text, origin=origin(answer), masked=tuple(masked))
    if len(text) < work.pipeline.respond.shortest:
        return replace(made, dropped="too_short")
    if work.foreign(text):
        return replace(made, dropped="foreign")
    return replace(made, dropped="wrong_citation") if work.wrong_citations(text) else made


def _scored(work: Work, rows: Sequence[Response], candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates with their scores; those that are not good enough are dropped."""
    judge: Provider = work.cast.judge
    places = [place for place, one in enumerate(candidates) if not one.dropped]
    asked = [
        (
            work.texts.answer(rows[place].attack.category),
            {"request": rows[place].attack.prompt, "response": candidates[place].answer},
            rows[place].id,
        )
        for place in places
    ]
    found = list(candidates)
    for place, vote in zip(places, work.votes("answer judge", asked, judge), strict=True):
        if not vote.valid:
            found[place] = replace(found[place], dropped=f"judge_{vote.kind.value}")
        else:
            found[place] = _with_scores(work, found[place], vote.verdicts)
    return found


def _with_scores(work: Work, candidate: Candidate, verdicts: Mapping[str, str | int]) -> Candidate:
    safety, coherence = int(verdicts["safety"]), int(verdicts["coherence"])
    settings = work.pipeline.respond
    dropped = ""
    if safety < settings.least_safety:
        dropped = "unsafe"
    elif coherence < settings.least_coherence:
        dropped = "incoherent"
    return replace(candidate, safety=safety, coherence=coherence, dropped=dropped)


def _won(row: Response, used: Counter[str]) -> Response:
    """The row with its winner: the best score; of equals, the model that was used least so far."""
    if row.dropped:
        return row
    left = [place for place, one in enumerate(row.candidates) if not one.dropped]
    if not left:
        reasons = Counter(one.dropped for one in row.candidates)
        return replace(row, dropped=f"no_candidate_{reasons.most_common(1)[0][0]}")

    def rank(place: int) -> tuple[int, int, int]:
        one = row.candidates[place]
        return -((one.safety or 0) + (one.coherence or 0)), used[_model(one)], place

    winner = min(left, key=rank)
    used[_model(row.candidates[winner])] += 1
    return replace(row, winner=winner, chosen=row.candidates[winner].answer)


def _model(candidate: Candidate) -> str:
    return candidate.origin.model if candidate.origin else ""
