"""The taggers by name: `rules`, or any provider, which is asked."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from kalign.config.rules import one_of
from kalign.errors import ConfigError
from kalign.markers.rules import Rules
from kalign.markers.tagger import Tagger
from kalign.markers.tagging import Shard

if TYPE_CHECKING:
    from kalign.providers.deferred import Transport

RULES = "rules"
T = TypeVar("T")


def named(name: str) -> Tagger:
    """The tagger called `name`: rules, local, openai:MODEL, or the path of a provider's YAML.

    Raises:
        ConfigError: there is none.
    """
    if name == RULES:
        return Rules()
    from kalign.markers import models

    try:
        return models.of(name)
    except ConfigError as wrong:
        raise ConfigError(f"tagger={name} is neither {RULES} nor a provider: {wrong}") from wrong


@contextmanager
def ready(
    tagger: Tagger, out: Path, shard: Shard | None = None, transport: "Transport | None" = None
) -> Iterator[Tagger]:
    """The tagger, able to tag: one that asks a model starts what it needs, and keeps its answers in a ledger
    of `out`, each shard in its own; one without a shard knows those of all.

    Args:
        transport: how a model is asked, if not one by one.
    """
    if isinstance(tagger, Rules):
        yield tagger
        return
    from kalign.markers.models import Model

    assert isinstance(tagger, Model)
    out.mkdir(parents=True, exist_ok=True)
    name = "answers.sqlite" if shard is None else f"answers.{shard.number}-of-{shard.of}.sqlite"
    others = [] if shard is not None else sorted(out.glob("answers.*-of-*.sqlite"))
    with tagger.asking(out / name, others, transport):
        yield tagger


def until_settled(tagger: Tagger, work: Callable[[], T]) -> T:
    """What `work` returns; it is done again as long as answers that it needs are to come."""
    if isinstance(tagger, Rules):
        return work()
    from kalign.markers.models import Model

    assert isinstance(tagger, Model)
    return tagger.until_settled(work)


def transport(
    name: str, tagger: Tagger, out: Path, poll: float, actors: Mapping[str, float]
) -> "Transport | None":
    """How a tagger asks its model: live, batch or ray.

    Raises:
        ConfigError: there is no such way, or rules ask nobody.
    """
    one_of("transport", name, ("live", "batch", "ray"))
    if name == "live":
        return None
    if isinstance(tagger, Rules):
        raise ConfigError(f"transport={name} is for models, and tagger={RULES} asks none; leave it away")
    from kalign.markers.models import Model
    from kalign.providers.posting import Batches
    from kalign.providers.rays import Actors, Rays

    assert isinstance(tagger, Model)
    if name == "batch":
        return Batches(out / "batches", poll=poll, budget=None)
    wanted = Actors(actors=int(actors["actors"]), gpus=actors["gpus"], rows=int(actors["rows"]))
    wanted.check()
    return Rays(wanted, [tagger.chosen])
