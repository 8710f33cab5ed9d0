"""The models of an evaluation, one after the other: weights are loaded once, and endpoints are served while
they answer."""

import contextlib
import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kalign import runs
from kalign.errors import IntegrityError
from kalign.evaluation import subjects
from kalign.evaluation.asking import Weights
from kalign.evaluation.endpoints import Endpoint
from kalign.evaluation.questions import Question
from kalign.evaluation.responses import Asker
from kalign.evaluation.subjects import Subject
from kalign.providers import Engine, local


@dataclass(frozen=True, kw_only=True)
class Models:
    """The model that is measured, and the one that it is paired with, if any."""

    model: Subject
    base: Subject | None = None

    @cached_property
    def identities(self) -> dict[str, Any]:
        """What makes the answers of each its own; weights are hashed once."""
        found = {"model": self.model.identity()}
        return found | ({"base": self.base.identity()} if self.base else {})

    @property
    def remote(self) -> bool:
        """Whether an endpoint answers for one of them."""
        return any(one is not None and one.provider is not None for one in (self.model, self.base))

    def named(self, name: str) -> dict[str, Any] | None:
        """The model or the base as a result names it."""
        one = self.model if name == "model" else self.base
        return {"name": one.name, "identity": self.identities[name]} if one else None


def resolve(model: str, base: str | None, family: str | None) -> Models:
    """The models that two words name; `base` is false, true (the model without its adapter) or a model.

    Raises:
        ConfigError: a word names nothing.
        IntegrityError: both have the same weights.
    """
    subject = subjects.resolve(model, family)
    if base in (None, "false"):
        return Models(model=subject)
    if base == "true":
        return Models(model=subject, base=subject.base())
    other = subjects.resolve(str(base), family)
    if runs.canonical(other.identity()) == runs.canonical(subject.identity()):
        raise IntegrityError(
            f"model={model} and base={base} have the same weights, so there is nothing to compare; name the "
            "model that the other was made from"
        )
    return Models(model=subject, base=other)


def each(
    models: Models,
    probes: Sequence[Question],
    engine: Engine | None,
    *,
    batch: int,
    max_new_tokens: int,
) -> Iterator[tuple[str, Asker]]:
    """The base, if one is asked, and the model, by name and ready to answer.

    Args:
        probes: prompts on which an adapter must have an effect.
    """
    asker: Asker | None = None
    for name, one in (("base", models.base), ("model", models.model)):
        if one is None:
            continue
        with contextlib.ExitStack() as served:
            if asker is None or not shared(models):
                asker = None  # makes room for the next one
                gc.collect()
                asked = models.model if shared(models) else one
                if asked.provider is not None and engine is not None:
                    [provider] = served.enter_context(local.started([asked.provider]))
                    asker = Endpoint(provider, engine, max_new_tokens=max_new_tokens)
                else:
                    asker = _weights(asked, probes, batch=batch, max_new_tokens=max_new_tokens)
            yield name, asker


def _weights(subject: Subject, probes: Sequence[Question], *, batch: int, max_new_tokens: int) -> Weights:
    weights = Weights(subject, batch=batch, max_new_tokens=max_new_tokens)
    if subject.adapter:
        weights.require_effect(probes)
    return weights


def shared(models: Models) -> bool:
    """Whether the base is the model without its adapter, so that one loading serves both."""
    adapter = models.model.adapter
    return models.base is not None and models.base == models.model.base() if adapter else False
