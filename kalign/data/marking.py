"""Markers in texts: what a prompt or an answer holds, written out as <domain>Culture</domain>, and taken off.

A marker is ordinary text. In training it stands behind the prompt, where some are left out so that the model
learns to do without, and before the answer, where none is; nobody who scores an answer sees it.

Source:
    D'Souza et al. 2025, Treasure Hunt, https://arxiv.org/abs/2506.14702.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256

from kalign.data.tags import DIMENSIONS, Tags
from kalign.records import Message, Triplet

Values = Mapping[str, Sequence[str]]  # of each dimension
ESCAPED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "\n": "&#10;", "\r": "&#13;"}
NAMES = "|".join(DIMENSIONS)
MARKER = re.compile(rf"<({NAMES})>([^<>\n]*)</\1>")
PREFIX = re.compile(rf"(?:<({NAMES})>[^<>\n]*</\1>)+(?:\n|\Z)")


def values(tags: Tags, dimensions: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What the markers of a text say, in the order of `dimensions`; nothing where its tags are not known."""
    return {name: tags.values(name) for name in dimensions} if tags.status == "ok" else {}


def spelled(values: Values, kept: Collection[str] | None = None) -> str:
    """The markers one after the other, several values sorted; `kept` leaves the others out.

    >>> spelled({"geo": ["KR", "JP"], "lang": ["ko"]})
    '<geo>JP|KR</geo><lang>ko</lang>'
    """
    return "".join(
        f"<{name}>{'|'.join(sorted(map(_escaped, value)))}</{name}>"
        for name, value in values.items()
        if kept is None or name in kept
    )


def strip_markers(completion: str) -> str:
    """The completion without the markers that `marked` put before it, or that a model wrote.

    >>> strip_markers('<lang>en</lang><geo>none</geo>\\nSo.'), strip_markers("<b>So.</b>")
    ('So.', '<b>So.</b>')
    """
    found = PREFIX.match(completion)
    return completion[found.end() :] if found else completion


def read(completion: str) -> dict[str, tuple[str, ...]]:
    """What the markers before a completion say; empty where there is none.

    >>> read('<geo>JP|KR</geo>\\nSo.')
    {'geo': ('JP', 'KR')}
    """
    found = PREFIX.match(completion)
    if not found:
        return {}
    return {name: tuple(map(_read, said.split("|"))) for name, said in MARKER.findall(found[0])}


def kept(
    names: Sequence[str], *, dataset_dropout: float, sample_dropout: float, draw: tuple[int, int, str]
) -> list[str]:
    """Which markers stay behind a prompt: none in a share of the samples, in the others each with its own
    chance.

    Args:
        draw: seed, copy and id; the same one keeps the same markers on every machine.
    """
    if _chance(*draw, "") < dataset_dropout:
        return []
    return [name for name in names if _chance(*draw, name) >= sample_dropout]


def marked(triplet: Triplet, values: Values, kept: Collection[str] | None, *, completion: bool) -> Triplet:
    """The triplet with markers; both answers get the same ones, so that no preference is learned from
    them."""
    if not values:
        return triplet
    behind = spelled(values, kept)
    prompt = behind_prompt(triplet.prompt, behind)
    if not completion:
        return replace(triplet, prompt=prompt)
    chosen, rejected = (
        before(turns, f"{spelled(values)}\n") if turns else () for turns in (triplet.chosen, triplet.rejected)
    )
    return replace(triplet, prompt=prompt, chosen=chosen, rejected=rejected)


def behind_prompt(turns: Sequence[Message], markers: str) -> tuple[Message, ...]:
    """The turns with markers behind the last one."""
    if not markers:
        return tuple(turns)
    last = turns[-1]
    return (*turns[:-1], replace(last, content=f"{last.content}\n{markers}"))


def before(turns: Sequence[Message], markers: str) -> tuple[Message, ...]:
    """The turns with markers before the first one of the assistant."""
    place = next(place for place, turn in enumerate(turns) if turn.role == "assistant")
    first = replace(turns[place], content=markers + turns[place].content)
    return (*turns[:place], first, *turns[place + 1 :])


def _chance(seed: int, copy: int, identity: str, name: str) -> float:
    return int.from_bytes(sha256(f"{seed}:{copy}:{identity}:{name}".encode()).digest()[:8]) / 2**64


def _escaped(value: str) -> str:
    return "".join(ESCAPED.get(letter, letter) for letter in value)


def _read(value: str) -> str:
    for letter, code in reversed(ESCAPED.items()):
        value = value.replace(code, letter)
    return value
