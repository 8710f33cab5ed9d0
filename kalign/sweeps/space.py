"""Where a search may look, stated as words: `loss.beta=float(0.01,0.5,log)` `adapter.r=choice(8,16,32)`."""

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from kalign.errors import ConfigError

FORM = re.compile(r"(float|int|choice)\((.*)\)")
MEANT = ("float", "int", "choice", "range", "interval", "uniform", "loguniform")
FORMS = "float(LOW,HIGH), float(LOW,HIGH,log), int(LOW,HIGH), int(LOW,HIGH,log) or choice(A,B,...)"


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """The values that one setting may take: all between two bounds, or a few."""

    key: str
    choices: tuple[str, ...] = ()  # as they are written behind the equals sign
    low: float = 0
    high: float = 0
    whole: bool = False
    log: bool = False

    @property
    def shown(self) -> str:
        """The dimension as a user writes it."""
        if self.choices:
            return f"{self.key}=choice({','.join(self.choices)})"
        kind = "int" if self.whole else "float"
        bounds = f"{self.spelled(self.low)},{self.spelled(self.high)}"
        return f"{self.key}={kind}({bounds}{',log' if self.log else ''})"

    def tried(self) -> list[str]:
        """The words to try a recipe with: each choice, or both bounds."""
        values = self.choices or (self.spelled(self.low), self.spelled(self.high))
        return [f"{self.key}={value}" for value in values]

    def spelled(self, value: object) -> str:
        """A value as it stands in a word: a number with all its digits."""
        return str(int(float(str(value)))) if self.whole else str(value)


def divided(words: Sequence[str]) -> tuple[list[Dimension], list[str]]:
    """The words that span a search, as dimensions, and all others, as they are.

    >>> dimensions, rest = divided(["recipe=tiny", "adapter.r=choice(8,16)", "loss.beta=float(0.01,0.5,log)"])
    >>> [dimension.shown for dimension in dimensions], rest
    (['adapter.r=choice(8,16)', 'loss.beta=float(0.01,0.5,log)'], ['recipe=tiny'])

    Raises:
        ConfigError: a word looks like a dimension and is none, or one setting has two.
    """
    dimensions: list[Dimension] = []
    rest = []
    for word in words:
        key, _, value = word.partition("=")
        called = re.match(r"([a-z]+)\s*\(", value)
        if called is None or not difflib.get_close_matches(called[1], MEANT):
            rest.append(word)
            continue
        if any(other.key == key for other in dimensions):
            raise ConfigError(f"{key} is given twice; a search looks along each setting once")
        dimensions.append(_dimension(key, value))
    if both := {dimension.key for dimension in dimensions} & {word.partition("=")[0] for word in rest}:
        raise ConfigError(
            f"{min(both)} is given twice, as one value and as a dimension of the search; keep one"
        )
    return dimensions, rest


def _dimension(key: str, value: str) -> Dimension:
    form = FORM.fullmatch(value)
    if form is None:
        raise ConfigError(f"{key}={value} is no dimension of a search; write {key}={FORMS}")
    kind, inside = form.groups()
    parts = _parts(inside)
    if kind == "choice":
        if len(parts) < 2 or len(set(parts)) < len(parts) or not all(parts):
            raise ConfigError(f"{key}={value} is no choice; name two different values or more: choice(8,16)")
        return Dimension(key=key, choices=tuple(parts))
    log = parts[2:] == ["log"]
    try:
        low, high = (int(part) if kind == "int" else float(part) for part in parts[: None if not log else 2])
    except ValueError as wrong:
        raise ConfigError(f"{key}={value} has no two bounds; write {key}={FORMS}") from wrong
    if not low < high or math.inf in (-low, high):
        raise ConfigError(f"{key}={value}: the first bound must be below the second, and both finite")
    if log and low <= 0:
        raise ConfigError(f"{key}={value}: a logarithmic scale starts above 0, and {low:g} is not")
    return Dimension(key=key, low=low, high=high, whole=kind == "int", log=log)


def _parts(text: str) -> list[str]:
    """The parts between commas, but for those within brackets or quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        elif letter == "," and not depth:
            parts.append("")
            continue
        parts[-1] += letter
    return [part.strip() for part in parts]
