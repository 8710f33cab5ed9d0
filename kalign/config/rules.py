"""The rules that many settings share: one of a few names, above a bound, a commit."""

import difflib
import re

from kalign.errors import ConfigError

COMMIT = re.compile(r"[0-9a-f]{40}")


def one_of(key: str, value: str, known: tuple[str, ...]) -> None:
    """Refuse a `value` that is not among `known`, with the nearest one.

    Raises:
        ConfigError: it is not.
    """
    if value not in known:
        near = difflib.get_close_matches(value, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(known)}"
        raise ConfigError(f"{key}={value} is unknown; {hint}")


def above(key: str, value: float, bound: float, *, inclusive: bool = False) -> None:
    """Refuse a `value` that is not above `bound`.

    Raises:
        ConfigError: it is not, or is no number.
    """
    if not (value >= bound if inclusive else value > bound):
        raise ConfigError(f"{key}={value} must be {'at least' if inclusive else 'above'} {bound:g}")
