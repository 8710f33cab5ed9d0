"""When a panel has decided: unanimous, a strict majority, or so many votes. Silence decides nothing."""

import re
from collections.abc import Collection, Sequence
from enum import StrEnum

from kalign.errors import ConfigError
from kalign.records import Vote

RULES = "unanimous, majority, or a number of votes"


class Decision(StrEnum):
    """What a panel says of one question. Undecided is no yes, and no no."""

    YES = "yes"
    NO = "no"
    UNDECIDED = "undecided"


def needed(rule: str, judges: int) -> int:
    """How many votes of `judges` make a yes.

    >>> needed("unanimous", 3), needed("majority", 4), needed("2", 3)
    (3, 3, 2)

    Raises:
        ConfigError: the rule is unknown, or needs more votes than there are judges.
    """
    if rule == "unanimous":
        return judges
    if rule == "majority":
        return judges // 2 + 1
    if not re.fullmatch(r"[1-9]\d?", rule):
        raise ConfigError(f"judge.rule={rule} is unknown; use {RULES}")
    if int(rule) > judges:
        raise ConfigError(f"judge.rule={rule} needs {rule} votes, and there are {judges} judges; name more")
    return int(rule)


def decide(votes: Sequence[Vote], question: str, *, passing: Collection[str | int], rule: str) -> Decision:
    """What a panel says: yes with enough passing votes, no where they cannot be reached any more.

    A vote that is not valid, or says nothing of the question, counts for neither side: it keeps a panel from
    being unanimous, and leaves it undecided unless the valid votes alone decide.
    """
    wanted = needed(rule, len(votes))
    valid = [vote.verdicts[question] for vote in votes if question in vote.verdicts]
    agreeing = sum(verdict in passing for verdict in valid)
    if agreeing >= wanted:
        return Decision.YES
    silent = len(votes) - len(valid)
    return Decision.NO if agreeing + silent < wanted else Decision.UNDECIDED
