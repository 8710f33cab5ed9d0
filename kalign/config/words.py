"""The words that no recipe has: names in their order, and a few settings of the command itself."""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from kalign.errors import ConfigError


def read(
    words: Sequence[str], *, positional: Sequence[str] = (), settings: Mapping[str, str | None] | None = None
) -> dict[str, str | None]:
    """The value of each positional word and of each setting.

    >>> read(["ko", "as_of=2026-11-25"], positional=["NAME"], settings={"as_of": None})
    {'as_of': '2026-11-25', 'NAME': 'ko'}

    Args:
        positional: what the words that must be given mean, in their order.
        settings: the default of each key that may be given as key=value.

    Raises:
        ConfigError: a word is missing, unknown, given twice, or one too many.
    """
    defaults = dict(settings or {})
    takes = " ".join([*positional, *(f"[{key}=...]" for key in defaults)]) or "no words"
    values: dict[str, str] = {}
    plain: list[str] = []
    for word in words:
        if not is_setting(word):
            plain.append(word)
            continue
        key, _, value = word.partition("=")
        if key not in defaults:
            near = difflib.get_close_matches(key, defaults, n=1)
            hint = f"did you mean {near[0]}?" if near else f"this command takes {takes}"
            raise ConfigError(f"{key} is no setting here; {hint}")
        if key in values:
            raise ConfigError(f"{key} is given twice, as {values[key]} and as {value}; give it once")
        values[key] = value
    if len(plain) < len(positional):
        raise ConfigError(f"{positional[len(plain)]} is missing; this command takes {takes}")
    if len(plain) > len(positional):
        raise ConfigError(f"{plain[len(positional)]!r} is one word too many; this command takes {takes}")
    return defaults | values | dict(zip(positional, plain, strict=True))


def is_setting(word: str) -> bool:
    """Whether a word is of the form KEY=VALUE, and no path such as runs/a=b."""
    return re.match(r"[\w.]+=", word) is not None


def named(
    words: Sequence[str], *, settings: Mapping[str, str | None]
) -> tuple[list[str], dict[str, str | None]]:
    """Any number of names, and the value of each setting; raises as `read`.

    >>> named(["runs/a=b", "out=page.html"], settings={"out": None})
    (['runs/a=b'], {'out': 'page.html'})
    """
    names = [word for word in words if not is_setting(word)]
    return names, read([word for word in words if is_setting(word)], settings=settings)


def taken(words: Sequence[str], **kinds: Callable[[str], Any]) -> tuple[dict[str, Any], list[str]]:
    """The words that a command keeps for itself, by name and of their kind, and those that are its recipe's.

    >>> taken(["recipe=tiny", "ranks=2"], ranks=int)
    ({'ranks': 2}, ['recipe=tiny'])

    Raises:
        ConfigError: a value is not of its kind.
    """
    own: dict[str, Any] = {}
    rest = []
    for word in words:
        key, _, value = word.partition("=")
        if key not in kinds:
            rest.append(word)
            continue
        try:
            own[key] = kinds[key](value)
        except ValueError as wrong:
            raise ConfigError(f"{word} is no {kinds[key].__name__}; write {key}=NUMBER") from wrong
    return own, rest


def day(key: str, value: str | None) -> date:
    """The day that a setting names; today, if it was not given.

    Raises:
        ConfigError: it is no day of the calendar.
    """
    if value is None:
        return date.today()
    try:
        return date.fromisoformat(value)
    except ValueError as wrong:
        raise ConfigError(f"{key}={value} is no day of the calendar; write it as YYYY-MM-DD") from wrong


def number(key: str, value: str | None) -> float:
    """The number that a setting gives.

    Raises:
        ConfigError: it is none.
    """
    try:
        return float(value or "")
    except ValueError as wrong:
        raise ConfigError(f"{key}={value} is no number; write {key}=0.5, for example") from wrong


def claim(key: str, value: str | None) -> bool:
    """Whether a setting says true.

    Raises:
        ConfigError: it says neither true nor false.
    """
    if value not in ("true", "false"):
        raise ConfigError(f"{key}={value} must be true or false")
    return value == "true"


def listed(value: str | None) -> list[str]:
    """The names in a setting, which commas part; none where it is not given.

    >>> listed("one,other"), listed(None)
    (['one', 'other'], [])
    """
    return value.split(",") if value else []


def shard(word: str) -> tuple[int, int]:
    """Which shard, counted from 0, of how many a word asks for.

    >>> shard("shard=0/8"), shard("--shard 7/8")
    ((0, 8), (7, 8))

    Raises:
        ConfigError: it names none.
    """
    named = re.fullmatch(r"[-\w]+[= ](\d{1,6})/(\d{1,6})", word)
    if not named or int(named[1]) >= int(named[2]):
        raise ConfigError(f"{word} is no shard; write I/N with I from 0 to N-1, such as 0/8")
    return int(named[1]), int(named[2])


def count(key: str, value: str, *, least: int = 1) -> int:
    """The whole number that a setting gives.

    Raises:
        ConfigError: it is none, or too small.
    """
    if not value.isdecimal() or int(value) < least:
        raise ConfigError(f"{key}={value} must be a whole number, {least} or more")
    return int(value)


def require_model(given: Mapping[str, object]) -> None:
    """Refuse words that name no model to measure.

    Raises:
        ConfigError: they do not.
    """
    if not given.get("model"):
        raise ConfigError("model is missing; give model=RUN, a folder, or OWNER/NAME of the Hub")
