"""The one JSON object of an answer, read strictly, and where it breaks a schema."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

FENCE = "```"


def parsed(text: str) -> Any:
    """The JSON object that a text is, or holds in its one fence; None if it is none, or there are several.

    >>> parsed('{"a": 1}'), parsed('```json\\n{"a": 1}\\n```'), parsed('{"a": 1} {"a": 2}'), parsed("[1]")
    ({'a': 1}, {'a': 1}, None, None)
    """
    for candidate in (text, _fenced(text)):
        try:
            found = json.loads(candidate, parse_constant=_no_constant, object_pairs_hook=_unique)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            return found
    return None


def _fenced(text: str) -> str:
    """What stands in the one fence that a text is; empty if it is none. Without a pattern: some answers are
    white space without end."""
    plain = text.strip()
    if len(plain) < 2 * len(FENCE) or not (plain.startswith(FENCE) and plain.endswith(FENCE)):
        return ""
    kind, _, inside = plain[len(FENCE) : -len(FENCE)].partition("\n")
    return inside if kind.strip() in ("", "json") else ""


def breach(schema: Mapping[str, Any], found: Any) -> str:
    """Where an object breaks a JSON schema, in one sentence; empty if it keeps it."""
    from jsonschema.exceptions import best_match

    wrong = best_match(_validator(json.dumps(schema, sort_keys=True)).iter_errors(found))
    if wrong is None:
        return ""
    place = ".".join(str(step) for step in wrong.absolute_path) or "the object"
    return f"{place} breaks the schema's rule {wrong.validator!r}"  # never the value: it may be harmful text


@lru_cache(maxsize=64)
def _validator(schema: str) -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(schema))


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)
