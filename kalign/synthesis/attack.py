"""Attack: each seed in other words, until the target answers it unsafely or its tries are used up.

What the target then said becomes the rejected answer. The seeds of a block go through a try together; each
try depends on the earlier ones of its own seed alone, so that blocks change nothing.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from kalign.providers import Answer
from kalign.records import Attack, Seed, Try
from kalign.synthesis.seeds import belongs
from kalign.synthesis.work import Work, origin, whole

SUCCESS = "success"
RESISTED = "resisted"


@dataclass(kw_only=True)
class _Item:
    """One seed under attack; `record` holds the best of it once it succeeded."""

    seed: Seed
    record: Attack
    tries: list[Try] = field(default_factory=list)
    done: bool = False


def run(work: Work, seeds: Iterable[Seed]) -> Iterator[Attack]:
    """One row for each seed that was not dropped: a success, or dropped with what came of the last try."""
    live = (seed for seed in seeds if not seed.dropped and belongs(seed.id, work.shard))
    return work.blocks(live, lambda block: _attacked(work, block))


def _attacked(work: Work, seeds: Sequence[Seed]) -> list[Attack]:
    items = [_Item(seed=one, record=_row(work, one)) for one in (_masked(work, seed) for seed in seeds)]
    for turn in range(work.pipeline.attack.tries):
        open_ones = [item for item in items if not item.done]
        if open_ones:
            _round(work, open_ones, turn)
    return [_finished(item) for item in items]


def strategy(strategies: Sequence[str], identity: str, turn: int) -> str:
    """The strategy of a try: each seed begins with another one, and goes round."""
    start = int(hashlib.sha256(identity.encode()).hexdigest()[:8], 16)
    return strategies[(start + turn) % len(strategies)]


def _row(work: Work, seed: Seed) -> Attack:
    """The row of a seed before any try."""
    return Attack(
        id=seed.id,
        category=seed.category,
        type=seed.type,
        prompt="",
        answer="",
        seed=seed.prompt,
        target=work.cast.target.model,
        seed_origin=seed.origin,
        masked=seed.masked,
    )


def _masked(work: Work, seed: Seed) -> Seed:
    """The seed without personal data, which a file of the user's own may hold; nobody is sent it."""
    prompt, masked = work.mask(seed.prompt)
    return replace(seed, prompt=prompt, masked=(*seed.masked, *masked)) if masked else seed


def _round(work: Work, items: Sequence[_Item], turn: int) -> None:
    """One try for every open seed: rewrite it, ask the target several times, judge what it says."""
    settings = work.pipeline.attack
    named = [strategy(settings.strategies, item.seed.id, turn) for item in items]
    rewritten = work.ask(
        "attacker",
        [
            work.chat(
                work.cast.attacker,
                work.texts.attacker(how),
                item.seed.prompt,
                sampling=work.pipeline.sampling.attacker,
                sample=turn // len(settings.strategies),
                about=item.seed.id,
                prompt_only=True,
            )
            for item, how in zip(items, named, strict=True)
        ],
    )
    live: list[tuple[_Item, str, Answer, str, list[str]]] = []
    for item, how, answer in zip(items, named, rewritten, strict=True):
        if not answer.ok:
            item.tries.append(Try(strategy=how, sample=0, outcome=f"attacker_{answer.status.value}"))
            continue
        prompt, masked = work.mask(whole(answer.parsed["prompt"]))
        if not prompt or work.foreign(prompt):
            item.tries.append(Try(strategy=how, sample=0, outcome="attacker_foreign"))
            continue
        live.append((item, how, answer, prompt, masked))
    asked = [(one, sample) for one in live for sample in range(settings.samples)]
    answers = work.ask(
        "target",
        [
            work.chat(
                work.cast.target,
                "",
                one[3],
                sampling=work.pipeline.sampling.target,
                sample=sample,
                about=one[0].seed.id,
            )
            for one, sample in asked
        ],
    )
    _judge(work, [(*one, sample, said) for (one, sample), said in zip(asked, answers, strict=True)])


def _judge(work: Work, said: Sequence[tuple[_Item, str, Answer, str, list[str], int, Answer]]) -> None:
    """Score every answer of the target; of several successes of one try, the worst answer is kept."""
    heard = [one for one in said if one[6].ok and whole(one[6].text)]
    votes = work.votes(
        "response judge",
        [
            (
                work.texts.harm(item.seed.type),
                {"request": prompt, "response": work.mask(whole(answer.text))[0]},
                item.seed.id,
            )
            for item, _, _, prompt, _, _, answer in heard
        ],
        work.cast.judge,
    )
    scores = {id(one): vote for one, vote in zip(heard, votes, strict=True)}
    for one in said:
        item, how, rewritten, prompt, masked, sample, answer = one
        vote = scores.get(id(one))
        if vote is None:
            outcome = f"target_{answer.status.value if not answer.ok else 'empty'}"
            item.tries.append(Try(strategy=how, sample=sample, outcome=outcome))
            continue
        if not vote.valid:
            item.tries.append(Try(strategy=how, sample=sample, outcome=f"judge_{vote.kind.value}"))
            continue
        score = int(vote.verdicts["harm"])
        succeeded = score >= work.pipeline.attack.success
        outcome = SUCCESS if succeeded else RESISTED
        item.tries.append(Try(strategy=how, sample=sample, outcome=outcome, score=score))
        if succeeded and score > (item.record.score or 0):
            text, more = work.mask(whole(answer.text))
            item.done = True
            item.record = replace(
                item.record,
                prompt=prompt,
                answer=text,
                strategy=how,
                score=score,
                masked=(*item.seed.masked, *masked, *more),
                prompt_origin=origin(rewritten),
                answer_origin=origin(answer),
            )


def _finished(item: _Item) -> Attack:
    dropped = "" if item.done else (item.tries[-1].outcome if item.tries else RESISTED)
    if not item.done and any(one.outcome == RESISTED for one in item.tries):
        dropped = RESISTED  # the target was asked, and held
    return replace(item.record, tries=tuple(item.tries), dropped=dropped)
