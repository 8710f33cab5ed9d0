"""What a user declares of a file: which one it is, and under which names it keeps its fields."""

from collections.abc import Mapping
from pathlib import Path

from kalign.errors import ConfigError


def file(key: str, given: str | None, what: str) -> Path:
    """The file that a user brings.

    Raises:
        ConfigError: none is given, or there is none.
    """
    if given is None:
        raise ConfigError(f"{key} is missing; give {key}=FILE, {what}")
    path = Path(given).expanduser()
    if not path.is_file():
        raise ConfigError(f"{key}={given} is no file; give {what}")
    return path


def columns(given: str | None, known: Mapping[str, str]) -> dict[str, str]:
    """Under which names a file keeps its fields: the known ones, but for those that a user declares.

    >>> columns("id:number", {"id": "sample_id", "answer": "answer"})
    {'id': 'number', 'answer': 'answer'}

    Raises:
        ConfigError: a field is unknown, or a pair is none.
    """
    declared = {}
    for pair in filter(None, (given or "").split(",")):
        field, colon, column = pair.partition(":")
        if not colon or not column or field not in known:
            raise ConfigError(
                f"columns={given} does not declare a field of this file; write FIELD:COLUMN,... with "
                f"{', '.join(known) or 'none'}"
            )
        declared[field] = column
    return {**known, **declared}
