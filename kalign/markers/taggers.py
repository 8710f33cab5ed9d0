"""The taggers by name."""

from collections.abc import Callable, Mapping

from kalign.config.rules import one_of
from kalign.markers.rules import Rules
from kalign.markers.tagger import Tagger

TAGGERS: Mapping[str, Callable[[], Tagger]] = {"rules": Rules}


def named(name: str) -> Tagger:
    """The tagger called `name`.

    Raises:
        ConfigError: there is none.
    """
    one_of("tagger", name, tuple(TAGGERS))
    return TAGGERS[name]()
