"""What every stage works with: settings, pack, texts, cast, the engine, and an account of what was asked."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from itertools import islice
from typing import Any, TypeVar

from kalign.grounding import verify
from kalign.grounding.verify import Grounding
from kalign.judging import Panel, Rubric, read
from kalign.packs import privacy
from kalign.packs.pack import Pack
from kalign.packs.privacy import Mask
from kalign.packs.rows import LEAST_LETTERS, LETTER
from kalign.providers import Answer, Engine, Provider, Request, Sampling
from kalign.providers.deferred import Deferred, Waiting
from kalign.records import Message, Origin, Vote
from kalign.runs import fingerprint
from kalign.synthesis import held_out
from kalign.synthesis.cast import Cast, name
from kalign.synthesis.likeness import Likeness
from kalign.synthesis.settings import Pipeline
from kalign.synthesis.texts import Texts

BLOCK = 1024  # items that are held at a time: many more than are on the way at once
T = TypeVar("T")
R = TypeVar("R")
PROMPT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"prompt": {"type": "string", "minLength": 1}},
    "required": ["prompt"],
    "additionalProperties": False,
}


@dataclass(kw_only=True)
class Asked:
    """What one role asked of one model in one stage."""

    calls: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float | None = 0.0
    seconds: float = 0.0  # of all answers, one after another


@dataclass(frozen=True, kw_only=True)
class Work:
    """One pipeline at work; `shard` is (which, of how many)."""

    pipeline: Pipeline
    panel: Panel
    cast: Cast
    pack: Pack
    texts: Texts
    engine: Engine
    on: date
    deferred: Deferred | None = None  # where requests go that are not asked one by one
    shard: tuple[int, int] = (0, 1)
    account: dict[tuple[str, str], Asked] = field(default_factory=dict)  # by role and model, of this stage

    @cached_property
    def mask(self) -> Mask:
        """What is masked in every text that is kept."""
        return privacy.read(self.pack)

    @cached_property
    def grounding(self) -> Grounding:
        """The pack's tables of laws and institutions."""
        return verify.load(self.pack.folder, self.pack.institutions.values())

    def wrong_citations(self, text: str) -> list[str]:
        """Each citation of a text that does not hold; what the tables cannot know is not among them."""
        cited = self.grounding.citations(text, self.on)
        return [f"{one.text}: {one.status.value}" for one in cited if one.status.wrong]

    def likeness(self) -> Likeness:
        """An empty index of prompts, which knows what is held out."""
        index = Likeness(self.pipeline.seeds.similarity, gram_length=self.pack.gram_length)
        index.hold_out(self.held_out())
        return index

    def held_out(self) -> Iterator[str]:
        """Yield every prompt that nothing may be like: the pack's, and those of the user's files."""
        return held_out.prompts(self.pack, self.pipeline.held_out)

    def foreign(self, text: str) -> bool:
        """Whether too few letters of a text are the pack's."""
        letters = LETTER.findall(text)
        own = sum(1 for letter in letters if self.pack.letters.match(letter))
        return not letters or own < LEAST_LETTERS * len(letters)

    def blocks(self, items: Iterable[T], make: Callable[[Sequence[T]], Iterable[R]]) -> Iterator[R]:
        """Yield what is made of the items, a block after another; only one block is held at a time.

        Raises:
            Waiting: of some block answers are not there yet, and every block has gone as far as it could.
        """
        stream = iter(items)
        waiting = False
        while block := list(islice(stream, BLOCK)):
            try:
                made = make(block)
            except Waiting:
                waiting = True
                continue
            if not waiting:
                yield from made
        if waiting:
            raise Waiting

    def ask(self, role: str, requests: Sequence[Request]) -> list[Answer]:
        """The answers, in order; those that are known come from the ledger.

        Raises:
            Waiting: some are to come by another transport, and not there yet.
        """
        if self.deferred is not None:
            self.deferred.require(requests)
        found = []
        for answer in self.engine.answers(requests, total=len(requests), label=role):
            found.append(answer)
            self._count(role, answer)
        return found

    def chat(
        self,
        provider: Provider,
        told: str,
        said: str,
        *,
        sampling: Sampling,
        sample: int = 0,
        about: str = "",
        prompt_only: bool = False,
    ) -> Request:
        """A request with instructions (none if they are empty); `prompt_only` wants {"prompt": ...} back."""
        turns = [Message(role="system", content=told)] if told else []
        return Request(
            provider=provider,
            messages=(*turns, Message(role="user", content=said)),
            sampling=sampling,
            sample=sample,
            schema=PROMPT_SCHEMA if prompt_only else None,
            about=about,
        )

    def votes(
        self, role: str, asked: Iterable[tuple[Rubric, dict[str, Any], str]], judge: Provider
    ) -> list[Vote]:
        """One vote for each (rubric, data, item) by the judge on the way."""
        questions = list(asked)
        sampling = self.pipeline.sampling.judge
        answers = self.ask(
            role,
            [rubric.request(judge, data, sampling=sampling, about=item) for rubric, data, item in questions],
        )
        return [
            read(rubric, data, answer, judge)
            for (rubric, data, _), answer in zip(questions, answers, strict=True)
        ]

    def _count(self, role: str, answer: Answer) -> None:
        asked = self.account.setdefault((role, name(answer.request.provider)), Asked())
        asked.calls += 1
        asked.statuses[answer.status.value] = asked.statuses.get(answer.status.value, 0) + 1
        asked.tokens_in += answer.usage.tokens_in
        asked.tokens_out += answer.usage.tokens_out
        asked.seconds += answer.seconds
        known = asked.cost is not None and answer.cost is not None
        asked.cost = (asked.cost or 0.0) + (answer.cost or 0.0) if known else None


def origin(answer: Answer) -> Origin:
    """Where an answer's text comes from."""
    request = answer.request
    told = request.messages[0].content if request.messages[0].role == "system" else ""
    return Origin(
        model=name(request.provider), prompt_sha256=fingerprint(told), key=answer.key, cost=answer.cost
    )


def whole(text: str) -> str:
    """A text without the white space around it, and without the thoughts that some models put in front."""
    return re.sub(r"^\s*<think>.*?</think>", "", text, flags=re.DOTALL).strip()
