"""A dry run: how many calls, tokens and dollars each role may take, before anything is sent."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kalign.judging import Panel, Rubric, canaries
from kalign.providers import Provider, Request, Sampling
from kalign.providers.batches import SHARE
from kalign.providers.counting import BYTES_A_TOKEN, prompt_tokens
from kalign.records import Message
from kalign.synthesis import held_out
from kalign.synthesis.cast import Cast, name
from kalign.synthesis.seeds import longest_given
from kalign.synthesis.settings import Pipeline
from kalign.synthesis.texts import Texts

WORDS = "x" * 240  # stands for a text that nothing bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What one model would be asked in one role, in the first wave.

    `least`: every first try succeeds; `most`: every seed uses all its tries; nothing is dropped in both.
    Tokens and cost are those of `most`, and rather too high.
    """

    role: str
    model: str
    least: int
    most: int
    tokens_in: int
    tokens_out: int
    cost: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A role of one model: how often it is asked, and what such a request looks like."""

    role: str
    provider: Provider
    least: int
    most: int
    examples: Sequence[Request]
    alone: bool = False  # asked one by one, whatever the transport


def lines(pipeline: Pipeline, cast: Cast, texts: Texts, panel: Panel) -> list[Line]:
    """One line for each role and model."""
    seeds = math.ceil(pipeline.size * pipeline.seeds.surplus)
    parts = [*_seeds(pipeline, cast, texts, seeds), *_attack(pipeline, cast, texts, seeds)]
    parts += [*_respond(pipeline, cast, texts, seeds), *_panel(pipeline, cast, texts, seeds, panel)]
    if cast.embedder:
        calls = seeds + held_out.count(texts.pack, pipeline.held_out)
        parts.append(_embedder(cast.embedder, calls, _longest(pipeline.sampling.writer)))
    if panel.canaries:
        parts += _canaries(cast, panel.sampling)
    together = pipeline.transport == "batch"
    return [
        _line(part, SHARE if together and part.provider.batch and not part.alone else 1.0) for part in parts
    ]


def _longest(sampling: Sampling) -> str:
    """Stands for the longest text that a role may say: the next one pays for reading it."""
    return WORDS if sampling.max_tokens is None else "x" * (BYTES_A_TOKEN * sampling.max_tokens)


def _seeds(pipeline: Pipeline, cast: Cast, texts: Texts, seeds: int) -> Iterator[_Part]:
    most = seeds * (1 + pipeline.seeds.regenerations)
    requests = [
        _chat(cast.writer, texts.writer(), given, pipeline.sampling.writer)
        for given in longest_given(texts.pack)
    ]
    yield _Part(role="writer", provider=cast.writer, least=seeds, most=most, examples=requests)
    if pipeline.seeds.check_category:
        asked = {"request": _longest(pipeline.sampling.writer)}
        yield _judge(pipeline, cast, "category judge", [texts.category], asked, seeds, seeds)


def _attack(pipeline: Pipeline, cast: Cast, texts: Texts, seeds: int) -> Iterator[_Part]:
    tries, samples = pipeline.attack.tries, pipeline.attack.samples
    sampling = pipeline.sampling
    rewriting = [
        _chat(cast.attacker, texts.attacker(one), _longest(sampling.writer), sampling.attacker)
        for one in pipeline.attack.strategies
    ]
    yield _Part(role="attacker", provider=cast.attacker, least=seeds, most=seeds * tries, examples=rewriting)
    least, most = seeds * samples, seeds * tries * samples
    asking = [_chat(cast.target, "", _longest(sampling.attacker), sampling.target)]
    yield _Part(role="target", provider=cast.target, least=least, most=most, examples=asking)
    rubrics = [texts.harm(kind) for kind in _kinds(texts)]
    asked = {"request": _longest(sampling.attacker), "response": _longest(sampling.target)}
    yield _judge(pipeline, cast, "response judge", rubrics, asked, least, most)


def _respond(pipeline: Pipeline, cast: Cast, texts: Texts, seeds: int) -> Iterator[_Part]:
    rubrics = [texts.query(kind) for kind in _kinds(texts)]
    asked = {"request": _longest(pipeline.sampling.attacker)}
    yield _judge(pipeline, cast, "query judge", rubrics, asked, seeds, seeds)
    count, categories = pipeline.respond.candidates, [one.id for one in texts.pack.taxonomy.categories]
    for place, generator in enumerate(cast.generators[:count]):
        calls = seeds * len(range(place, count, len(cast.generators)))
        examples = [
            _chat(generator, texts.generator(category), asked["request"], pipeline.sampling.generator)
            for category in categories
        ]
        yield _Part(role="generator", provider=generator, least=calls, most=calls, examples=examples)
    rubrics = [texts.answer(category) for category in categories]
    asked |= {"response": _longest(pipeline.sampling.generator)}
    yield _judge(pipeline, cast, "answer judge", rubrics, asked, seeds * count, seeds * count)


def _panel(pipeline: Pipeline, cast: Cast, texts: Texts, seeds: int, panel: Panel) -> Iterator[_Part]:
    said = pipeline.sampling
    asked = {
        "prompt": _longest(said.attacker),
        "chosen": _longest(said.generator),
        "rejected": _longest(said.target),
    }
    rubrics = [texts.filter(one.id) for one in texts.pack.taxonomy.categories]
    for judge in cast.panel:
        examples = [rubric.request(judge, asked, sampling=panel.sampling) for rubric in rubrics]
        yield _Part(role="panel", provider=judge, least=seeds, most=seeds, examples=examples)


def _embedder(provider: Provider, calls: int, longest: str) -> _Part:
    """Each seed, and each prompt that is held out, once."""
    turn = Message(role="user", content=longest)
    request = Request(provider=provider, messages=(turn,), embedding=True)
    return _Part(role="embedder", provider=provider, least=calls, most=calls, examples=[request], alone=True)


def _canaries(cast: Cast, sampling: Sampling) -> Iterator[_Part]:
    for judge in cast.panel:
        examples = [*canaries.asked(canaries.load(), judge, sampling=sampling)]
        count = len(examples)
        yield _Part(role="canary", provider=judge, least=count, most=count, examples=examples, alone=True)


def _judge(
    pipeline: Pipeline,
    cast: Cast,
    role: str,
    rubrics: Sequence[Rubric],
    asked: Mapping[str, str],
    least: int,
    most: int,
) -> _Part:
    examples = [rubric.request(cast.judge, asked, sampling=pipeline.sampling.judge) for rubric in rubrics]
    return _Part(role=role, provider=cast.judge, least=least, most=most, examples=examples)


def _kinds(texts: Texts) -> list[str]:
    """One type of each category."""
    return [texts.pack.taxonomy.leaves(one.id)[0].id for one in texts.pack.taxonomy.categories]


def _line(part: _Part, share: float) -> Line:
    """The line of a role that pays this share of the ordinary price."""
    each = sum(prompt_tokens(request) for request in part.examples) / len(part.examples)
    tokens_in = math.ceil(part.most * each)
    tokens_out = part.most * (part.examples[0].most_tokens_out)
    cost = part.provider.cost(tokens_in, tokens_out)
    return Line(
        role=part.role,
        model=name(part.provider),
        least=part.least,
        most=part.most,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        cost=None if cost is None else cost * share,
    )


def _chat(provider: Provider, told: str, said: str, sampling: Sampling) -> Request:
    turns = [Message(role="system", content=told)] if told else []
    return Request(
        provider=provider, messages=(*turns, Message(role="user", content=said)), sampling=sampling
    )
