"""The tagger by a model behind an endpoint: one JSON object a text, asked for once more where it is none."""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from string import Template
from typing import Any, TypeVar

from kalign import providers
from kalign.data.tags import LISTS, Tags
from kalign.markers import schema
from kalign.markers.tagger import Tagged
from kalign.providers import Answer, Engine, Provider, Request, Sampling, Status, local
from kalign.providers.deferred import Deferred, Transport
from kalign.records import Message

T = TypeVar("T")
LONGEST = 24_000  # characters; a longer text is not sent
RETRIES = 1
REFUSED = (Status.REFUSED, Status.BLOCKED)
SAMPLING = Sampling(temperature=0.0, max_tokens=256)
AGAIN = Sampling(temperature=0.7, max_tokens=256, seed=1)  # the same words again would say the same again


class Model:
    """Tags a text by asking a model; what cannot be read is `unparsed`, never taken for no culture."""

    def __init__(self, provider: Provider) -> None:
        self.chosen = provider
        self.provider = local.identified(provider)
        self.schema = schema.load()
        self.name = f"{self.provider.name}:{self.provider.model}"
        revision = self.provider.revision
        self.version = f"{self.schema.version}+{revision[:12] if revision else 'unknown'}"
        self._engine: Engine | None = None
        self._deferred: Deferred | None = None

    @cached_property
    def prompt(self) -> str:
        """What the model is told, with every class and its definition."""
        template = Template((schema.TABLES / "prompt.txt").read_text(encoding="utf-8"))
        listed = {
            dimension: "\n".join(
                f"- {value}: {meaning}" for value, meaning in self.schema.values[dimension].items()
            )
            for dimension in ("culture", "domain", "task", "lang")
        }
        return template.substitute(listed)

    @property
    def prompt_hash(self) -> str:
        """The hash of prompt and form: another prompt tags otherwise."""
        return sha256(f"{self.prompt}{json.dumps(self.form)}".encode()).hexdigest()[:16]

    @cached_property
    def form(self) -> dict[str, Any]:
        """The JSON schema of an answer."""
        properties: dict[str, Any] = {}
        for dimension, values in self.schema.values.items():
            one = {"type": "string", "enum": list(values)}
            properties[dimension] = {"type": "array", "items": one} if dimension in LISTS else one
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }

    @contextlib.contextmanager
    def asking(
        self, ledger: Path, others: Sequence[Path] = (), transport: Transport | None = None
    ) -> Iterator[None]:
        """Start what must run, and keep every answer in `ledger`, with those of `others`: nothing is asked,
        or paid for, twice.

        Args:
            transport: how requests go, if they are not sent one by one.
        """
        with contextlib.ExitStack() as running:
            reached = self.provider
            if transport is None or not transport.takes(reached):
                [reached] = running.enter_context(local.started([self.chosen]))
            self._engine = running.enter_context(Engine(ledger))
            self._engine.ledger.merge(others)
            self._reached = reached
            if transport is not None:
                running.callback(transport.close)
                self._deferred = Deferred(transport, self._engine)
            yield

    def until_settled(self, work: Callable[[], T]) -> T:
        """What `work` returns once every answer that it needs is there."""
        return work() if self._deferred is None else self._deferred.until_settled(work)

    def __call__(self, texts: Sequence[str]) -> list[Tagged]:
        """The tags of each text, in order.

        Raises:
            Waiting: answers are to come by another transport, and not there yet.
            Interrupted: the model is not available any more; what it answered is kept.
            ProviderError: a key, a quota or the model's name is not accepted.
        """
        found: dict[int, Tagged] = {
            place: Tagged(tags=Tags(status="too_long"))
            for place, text in enumerate(texts)
            if len(text) > LONGEST
        }
        left = [place for place in range(len(texts)) if place not in found]
        for attempt in range(1 + RETRIES):
            answers = self._answers([texts[place] for place in left], attempt)
            for place, answer in zip(left, answers, strict=True):
                found[place] = self._read(answer)
            left = [place for place in left if found[place].tags.status == "unparsed"]
        return [found[place] for place in range(len(texts))]

    def _answers(self, texts: Sequence[str], attempt: int) -> list[Answer]:
        assert self._engine is not None, "ask within `asking`"
        system = Message(role="system", content=self.prompt)
        requests = [
            Request(
                provider=self._reached,
                messages=(system, Message(role="user", content=text or " ")),
                sampling=replace(AGAIN if attempt else SAMPLING),
                schema=self.form,
                sample=attempt,
                about="tags",
            )
            for text in texts
        ]
        if self._deferred is not None:
            self._deferred.require(requests)
        return list(self._engine.answers(requests, total=len(texts), label="tags"))

    def _read(self, answer: Answer) -> Tagged:
        """The tags that an answer holds."""
        if answer.status in REFUSED:
            return Tagged(tags=Tags(status="refused"), raw=answer.text)
        said = answer.parsed
        if not answer.ok or not isinstance(said, dict):
            return Tagged(tags=Tags(status="unparsed"), raw=answer.text or answer.reason)
        order = {dimension: list(self.schema.values[dimension]) for dimension in LISTS}
        several = {key: tuple(sorted(set(said[key]), key=order[key].index)) for key in LISTS}
        return Tagged(
            tags=Tags(
                culture=several["culture"],
                geo=several["geo"],
                domain=said["domain"],
                task=said["task"],
                lang=said["lang"],
            )
        )


def of(choice: str) -> Model:
    """The tagger that asks the provider `choice`, such as `local`, `openai:MODEL` or `mine.yaml`.

    Raises:
        ConfigError: there is no such provider.
    """
    return Model(providers.load(choice))
