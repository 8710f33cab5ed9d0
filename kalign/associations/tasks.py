"""From norms to examples: cues are split, associates drawn, and each task asked as ALIGN asks it.

Source:
    ALIGN, arXiv 2508.13426, and github.com/kabir-manandhar/Cultural-Lexis at 3e316be.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256

from kalign.associations import metrics, norms, prompts, rewards
from kalign.associations.draws import chance_of
from kalign.associations.norms import Norms
from kalign.associations.prompts import Prompts
from kalign.config import Associations, Recipe
from kalign.data.examples import Example, Examples
from kalign.errors import ConfigError, DataError
from kalign.records import Message

SHIFTS, SHARED = 64, 10  # shifts that the shuffled control tries, associates it looks at
SPLITS = ("train", "later", "test")


def examples(recipe: Recipe) -> Examples:
    """What a recipe trains on and holds out.

    Raises:
        ConfigError: data.path is not set, or a setting does not fit the task or the file.
        DataError: a row of the norms is malformed, or no example can be made of them.
    """
    settings = recipe.associations
    if not recipe.data.path:
        raise ConfigError(
            "data.path is not set; give the file of norms, or try kalign's own with data.path=bundled:hill"
        )
    texts = prompts.load(settings.prompts)
    read = norms.read(recipe.data.path, settings)
    parts = split(read.counts, settings.split, seed=recipe.data.seed)
    facts: Counter[str] = Counter(read.facts)
    facts |= {f"cues: {name}": len(cues) for name, cues in parts.items()}
    seed = recipe.data.seed
    train = list(_asked(read, parts["train"], texts, settings, seed=seed, facts=facts, once=False))
    held_out = list(_asked(read, parts["test"], texts, settings, seed=seed, facts=Counter(), once=True))
    if not train:
        raise DataError(
            f"{recipe.data.path} gives no example of the task {settings.task}: "
            f"{facts['cues with too few associates']} cues have fewer than associations.top_k="
            f"{settings.top_k} associates of different counts; lower it, or set "
            "associations.distinct_counts=false"
        )
    marker = texts.marker
    return Examples(
        train=train,
        held_out=held_out,
        identity={"norms": {"path": read.where, "sha256": read.sha256, "layout": read.layout}},
        facts=dict(facts),
        notice=read.licence,
        reward=rewards.named(recipe.reward.name, marker=marker, k=settings.top_k),
        reward_range=rewards.RANGES[recipe.reward.name],
        score=metrics.scored(settings.task, marker=marker),
    )


def split(cues: Iterable[str], shares: Sequence[float], *, seed: int) -> dict[str, list[str]]:
    """The cues of each part, decided by the cue's own hash: the same word lies in the same part of any norms.

    Args:
        shares: of the parts train, later and test.
    """
    ordered = sorted(cues, key=lambda cue: sha256(f"{seed}:{cue}".encode()).digest())
    first = round(len(ordered) * shares[0])
    second = first + round(len(ordered) * shares[1])
    return dict(zip(SPLITS, (ordered[:first], ordered[first:second], ordered[second:]), strict=True))


def shuffled(read: Norms, cues: Sequence[str]) -> dict[str, str]:
    """For each cue another one, whose associates it is given: what is said stays, what it is said of not.

    Of the first shifts of the list, it is the one after which cues share the fewest frequent associates with
    those that they were given, so that as little as possible stays true by chance.
    """
    frequent = [set(list(read.counts[cue])[:SHARED]) for cue in cues]

    def left(shift: int) -> int:
        return sum(
            len(own & other)
            for own, other in zip(frequent, [*frequent[shift:], *frequent[:shift]], strict=True)
        )

    shift = min(range(1, min(len(cues), SHIFTS + 1)), key=left, default=0)
    return dict(zip(cues, [*cues[shift:], *cues[:shift]], strict=True))


def _asked(
    read: Norms,
    cues: Sequence[str],
    texts: Prompts,
    settings: Associations,
    *,
    seed: int,
    facts: Counter[str],
    once: bool,
) -> Iterator[Example]:
    """The examples of the settings' task; `once` asks each held-out cue once, with all its associates."""
    sources = shuffled(read, cues) if settings.shuffle_cues and not once else {cue: cue for cue in cues}
    if settings.task == "generation":
        copies = settings.copies_per_cue or max(1, settings.target_examples // max(1, len(cues)))
        for cue, source in sources.items():
            yield from generation(
                cue, source, read.counts[source], texts, settings, seed=seed, copies=0 if once else copies
            )
    elif settings.task == "ranking":
        for cue, source in sources.items():
            yield from ranking(cue, source, read.counts[source], texts, settings, seed=seed, facts=facts)
    else:
        wanted = set(cues)
        for number, (cue, words) in enumerate(read.trials):
            if cue in wanted:
                yield participant(f"{read.culture}:{number}", cue, words, read.counts[cue], texts)


def generation(
    cue: str,
    source: str,
    counts: Mapping[str, int],
    texts: Prompts,
    settings: Associations,
    *,
    seed: int,
    copies: int,
) -> Iterator[Example]:
    """Copies of one cue, each with a random share of its associates, the most frequent first, none twice.

    Args:
        source: the cue whose associates they are; another one in the shuffled control.
        copies: 0 asks once, with all associates.
    """
    words = list(counts)
    kept = max(1, round(len(words) * settings.subset_share))
    gold = {"norms": counts}  # one object for all copies: a million examples must fit
    asked: dict[tuple[int, int], tuple[Message, ...]] = {}
    seen = set()
    for copy in range(max(1, copies)):
        chance = chance_of(seed, settings.culture, source, copy)
        places = sorted(chance.sample(range(len(words)), kept)) if copies else range(len(words))
        answer = texts.listed([words[place] for place in places])
        if answer in seen:
            continue
        seen.add(answer)
        low, high = band(len(places), chance)
        prompt = asked.setdefault((low, high), texts.ask("generation", cue=cue, lo=low, hi=high))
        yield Example(
            id=f"{settings.culture}:{cue}:{copy}",
            group=cue,
            prompt=prompt,
            answer=answer,
            gold=gold,
        )


def band(length: int, chance: random.Random) -> tuple[int, int]:
    """How many words are asked for: the length -10 % to +10 %, both shifted by 3 %, at least 1."""
    shift = 0.03 * length * chance.choice((-1, 1))
    low, high = (round(length * share + shift) for share in (0.9, 1.1))
    return max(1, low), max(1, high)


def ranking(
    cue: str,
    source: str,
    counts: Mapping[str, int],
    texts: Prompts,
    settings: Associations,
    *,
    seed: int,
    facts: Counter[str],
) -> Iterator[Example]:
    """Questions on one cue: top_k of its associates, shuffled, to be put in the order of counts."""
    counts = {word: count for word, count in counts.items() if count >= settings.least_count}
    by_count: dict[int, list[str]] = {}
    for word, count in counts.items():
        by_count.setdefault(count, []).append(word)
    if (len(by_count) if settings.distinct_counts else len(counts)) < settings.top_k:
        facts["cues with too few associates"] += 1
        return
    for question in range(settings.questions_per_cue):
        chance = chance_of(seed, settings.culture, source, question)
        if settings.distinct_counts:
            levels = chance.sample(sorted(by_count), settings.top_k)
            drawn = [chance.choice(by_count[level]) for level in levels]
        else:
            drawn = chance.sample(list(counts), settings.top_k)
        gold = sorted(drawn, key=lambda word: (-counts[word], word))
        chance.shuffle(drawn)
        yield Example(
            id=f"{settings.culture}:{cue}:rank{question}",
            group=cue,
            prompt=texts.ask("ranking", cue=cue, k=settings.top_k, words=texts.listed(drawn)),
            answer=texts.ranked(gold),
            gold={"words": gold, "counts": [counts[word] for word in gold]},
        )


def rankings(
    read: Norms, cues: Sequence[str], texts: Prompts, settings: Associations, *, seed: int
) -> list[Example]:
    """The ranking questions on some cues; those with too few associates have none."""
    facts: Counter[str] = Counter()
    return [
        example
        for cue in cues
        for example in ranking(cue, cue, read.counts[cue], texts, settings, seed=seed, facts=facts)
    ]


def participant(
    identity: str, cue: str, words: Sequence[str], counts: Mapping[str, int], texts: Prompts
) -> Example:
    """One participant's three answers to one cue, as they were given."""
    given = [*words, *[texts.nothing] * 3][:3]
    return Example(
        id=identity,
        group=cue,
        prompt=texts.ask("participant", cue=cue),
        answer=texts.listed(given),
        gold={"norms": counts},
    )
