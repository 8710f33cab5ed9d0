"""Whose licence a model's name stands for: the models of conf/model/, by file name, repository or name
prefix."""

import dataclasses
from functools import cache
from typing import Any

from kalign.config import suspicion
from kalign.config.compose import root
from kalign.config.model import Licence


@dataclasses.dataclass(frozen=True, kw_only=True)
class Known:
    """A model of conf/model/: its file's name, its repository, its licence."""

    name: str
    repo: str
    licence: Licence


def of(target: str) -> Known | None:
    """The known model that `target` names; None where kalign knows none.

    A derivative is known by its name too, where the licence makes derivatives carry a prefix.
    """
    wanted = target.strip().casefold()
    own = wanted.rsplit("/", 1)[-1]
    for known in _known():
        if wanted in (known.name, known.repo.casefold()) or own == known.repo.casefold().rsplit("/", 1)[-1]:
            return known
    for known in _known():
        prefix = known.licence.name_prefix
        if prefix and own.startswith(prefix.casefold()):
            return known
    return None


@cache
def _known() -> tuple[Known, ...]:
    found = []
    for path in sorted((root("conf") / "model").glob("*.yaml")):
        content: dict[str, Any] = suspicion.parse(path)
        if content.get("repo"):
            licence = Licence(**content.get("licence", {}))
            found.append(Known(name=path.stem, repo=content["repo"], licence=licence))
    return tuple(found)
