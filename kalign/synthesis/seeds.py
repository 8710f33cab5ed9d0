"""Seeds: templates of the pack, filled by a writer with local material, checked one by one."""

import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kalign.errors import DataError
from kalign.packs import seeds as templates
from kalign.packs.pack import Pack
from kalign.packs.seeds import Templates
from kalign.packs.taxonomy import Node
from kalign.providers import Answer
from kalign.records import Seed
from kalign.synthesis.closeness import HELD_OUT, without_close
from kalign.synthesis.work import Work, origin, whole

AGAIN = ("unreadable", "foreign", "empty")  # what is worth writing once more
MOST_NUMBER = 99_999  # as long as the number of a seed may be written
LAW = "law"  # material that comes from the category's policy


@dataclass(kw_only=True)
class _Draw:
    """One seed to be written: what the writer is given, and what came of it."""

    id: str
    category: str
    type: str
    template: str
    given: Mapping[str, Any]
    seed: Seed | None = field(default=None)


def run(work: Work, waves: Sequence[Mapping[str, int]]) -> Iterator[Seed]:
    """A seed for each draw of each wave, in that order, so that a further wave changes none before it."""
    written = work.blocks(_drawn(work, waves), lambda block: _written(work, block))
    return _apart(work, without_close(work, without_likes(work, written)))


def _written(work: Work, draws: Sequence[_Draw]) -> list[Seed]:
    for sample in range(1 + work.pipeline.seeds.regenerations):
        open_ones = [draw for draw in draws if draw.seed is None or draw.seed.dropped in AGAIN]
        if open_ones:
            _write(work, open_ones, sample)
    if work.pipeline.seeds.check_category:
        _check_categories(work, [draw for draw in draws if draw.seed and not draw.seed.dropped])
    return [draw.seed for draw in draws if draw.seed]


def _apart(work: Work, seeds: Iterable[Seed]) -> Iterator[Seed]:
    """Yield the seeds, and refuse all where too many are like what is held out.

    Raises:
        DataError: they are: the writer knows an evaluation set.
    """
    count, alike, most = 0, 0, work.pipeline.seeds.most_held_out
    for seed in seeds:
        count, alike = count + 1, alike + (seed.dropped == HELD_OUT)
        yield seed
    if alike > most * count:
        raise DataError(
            f"{alike} of {count} seeds are like what is held out, and seeds.most_held_out={most:g}; write "
            "other templates, or take another writer"
        )


def without_likes(work: Work, seeds: Iterable[Seed]) -> Iterator[Seed]:
    """The seeds, with those dropped that are like an earlier one or like what is held out."""
    index = work.likeness()
    for seed in seeds:
        if seed.dropped:
            yield seed
        elif fault := index.fault(seed.prompt):
            yield replace(seed, dropped=fault)
        else:
            index.take(seed.prompt)
            yield seed


def belongs(identity: str, shard: tuple[int, int]) -> bool:
    """Whether an item is of a shard: decided by its id alone."""
    return int(hashlib.sha256(identity.encode()).hexdigest()[:8], 16) % shard[1] == shard[0]


def _drawn(work: Work, waves: Sequence[Mapping[str, int]]) -> Iterator[_Draw]:
    written = templates.read(work.pack)
    numbers = dict.fromkeys((one.id for one in work.pack.taxonomy.types), 0)
    for wave in waves:
        for kind, count in wave.items():
            for _ in range(count):
                draw = _draw(work, written, kind, numbers[kind])
                numbers[kind] += 1
                if belongs(draw.id, work.shard):
                    yield draw


def _draw(work: Work, written: Templates, kind: str, number: int) -> _Draw:
    chance = random.Random(f"{work.pipeline.seed}:{kind}:{number}")
    choices = written.templates.get(kind, ())
    template = choices[number % len(choices)] if choices else ""
    material = {name: chance.choice(texts) for name, texts in written.material.items()}
    category = _category(work.pack, kind)
    if laws := _laws(work.pack, category):
        material[LAW] = chance.choice(laws)
    given = _given(work.pack, kind, template, material, number)
    return _Draw(id=f"{kind}-{number:05}", category=category.id, type=kind, template=template, given=given)


def _category(pack: Pack, kind: str) -> Node:
    return pack.category(pack.taxonomy.by_id[kind].parent or kind)


def _laws(pack: Pack, category: Node) -> list[str]:
    return [text for law in pack.policies[category.id].laws for text in law.citations()]


def _given(pack: Pack, kind: str, template: str, material: Mapping[str, str], number: int) -> dict[str, Any]:
    """What the writer of one seed is given."""
    node = pack.taxonomy.by_id[kind]
    blanks = templates.blanks(pack.taxonomy, kind)
    return {
        "category": pack.named(_category(pack, kind).name),
        "type": pack.named(node.name),
        "definition": (node.definition or "").strip(),
        "template": template,
        "blanks": {name: pack.named(names) for name, names in blanks.items()},
        "material": material,
        "variation": number,  # so that equal draws are two questions
    }


def _said(given: Mapping[str, Any]) -> str:
    return json.dumps(given, ensure_ascii=False, sort_keys=True)


def longest_given(pack: Pack) -> list[str]:
    """For each type, the longest that its writer may be given; a bound for a dry run."""
    written = templates.read(pack)
    longest = {name: max(texts, key=_size, default="") for name, texts in written.material.items()}
    found = []
    for kind in (one.id for one in pack.taxonomy.types):
        laws = {LAW: max(named, key=_size)} if (named := _laws(pack, _category(pack, kind))) else {}
        template = max(written.templates.get(kind, ()), key=_size, default="")
        found.append(_said(_given(pack, kind, template, longest | laws, MOST_NUMBER)))
    return found


def _size(text: str) -> int:
    return len(text.encode())


def _write(work: Work, draws: Sequence[_Draw], sample: int) -> None:
    requests = [
        work.chat(
            work.cast.writer,
            work.texts.writer(),
            _said(draw.given),
            sampling=work.pipeline.sampling.writer,
            sample=sample,
            about=draw.id,
            prompt_only=True,
        )
        for draw in draws
    ]
    for draw, answer in zip(draws, work.ask("writer", requests), strict=True):
        draw.seed = _seed(work, draw, answer)


def _seed(work: Work, draw: _Draw, answer: Answer) -> Seed:
    known = Seed(
        id=draw.id,
        category=draw.category,
        type=draw.type,
        prompt="",
        template=draw.template,
        origin=origin(answer),
    )
    if not answer.ok:
        return replace(known, dropped=answer.status.value)
    prompt, masked = work.mask(whole(answer.parsed["prompt"]))
    seed = replace(known, prompt=prompt, masked=tuple(masked))
    if not prompt:
        return replace(seed, dropped="empty")
    return replace(seed, dropped="foreign") if work.foreign(prompt) else seed


def _check_categories(work: Work, draws: Sequence[_Draw]) -> None:
    rubric = work.texts.category
    asked = [(rubric, {"request": draw.seed.prompt}, draw.id) for draw in draws if draw.seed]
    for draw, vote in zip(draws, work.votes("category judge", asked, work.cast.judge), strict=True):
        assert draw.seed
        if not vote.valid:
            draw.seed = replace(draw.seed, dropped=f"category_{vote.kind.value}")
        elif vote.verdicts["category"] != draw.category:
            draw.seed = replace(draw.seed, dropped="other_category")
