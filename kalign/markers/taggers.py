"""The taggers by name: `rules`, or any provider, which is asked."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kalign.markers.rules import Rules
from kalign.markers.tagger import Tagger
from kalign.markers.tagging import Shard

RULES = "rules"


def named(name: str) -> Tagger:
    """The tagger called `name`: rules, local, openai:MODEL, or the path of a provider's YAML.

    Raises:
        ConfigError: there is none.
    """
    if name == RULES:
        return Rules()
    from kalign.errors import ConfigError
    from kalign.markers import models

    try:
        return models.of(name)
    except ConfigError as wrong:
        raise ConfigError(f"tagger={name} is neither {RULES} nor a provider: {wrong}") from wrong


@contextmanager
def ready(tagger: Tagger, out: Path, shard: Shard | None = None) -> Iterator[Tagger]:
    """The tagger, able to tag: one that asks a model starts what it needs, and keeps its answers in a ledger
    of `out`, each shard in its own; one without a shard knows those of all."""
    if isinstance(tagger, Rules):
        yield tagger
        return
    from kalign.markers.models import Model

    assert isinstance(tagger, Model)
    out.mkdir(parents=True, exist_ok=True)
    name = "answers.sqlite" if shard is None else f"answers.{shard.number}-of-{shard.of}.sqlite"
    others = [] if shard is not None else sorted(out.glob("answers.*-of-*.sqlite"))
    with tagger.asking(out / name, others):
        yield tagger
