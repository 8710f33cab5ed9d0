"""Why a share changed: because other domains are in the corpus, or because the same domains changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

Domains = Mapping[str, tuple[int, int]]  # texts, and those of them that are cultural, by domain


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one domain adds to the change: by its weight, and by its own share."""

    composition: float
    within: float


@dataclass(frozen=True, kw_only=True)
class Decomposition:
    """The change of a share from one corpus to another: `change` = `composition` + `within`."""

    before: float
    after: float
    composition: float
    within: float
    parts: Mapping[str, Part]

    @property
    def change(self) -> float:
        """After minus before."""
        return self.after - self.before


def kitagawa(
    weights_before: Mapping[str, float],
    shares_before: Mapping[str, float],
    weights_after: Mapping[str, float],
    shares_after: Mapping[str, float],
) -> Decomposition:
    """The change of a share, split exactly into composition and within-domain change.

    A domain that only one corpus has, has no share in the other: it is given the same one there, so that all
    it adds is composition.

    >>> one = kitagawa({"chat": .6, "code": .4}, {"chat": .5, "code": 0}, {"chat": .2, "code": .8},
    ...                {"chat": .5, "code": 0})
    >>> round(one.change, 12), round(one.composition, 12), one.within
    (-0.2, -0.2, 0.0)

    Source:
        Kitagawa 1955, https://doi.org/10.1080/01621459.1955.10501299.
    """
    parts = {}
    for name in dict.fromkeys(chain(weights_before, weights_after)):
        w_a, w_b = weights_before.get(name, 0.0), weights_after.get(name, 0.0)
        s_a = shares_before[name] if w_a else shares_after.get(name, 0.0)
        s_b = shares_after[name] if w_b else s_a
        parts[name] = Part(composition=(w_b - w_a) * (s_a + s_b) / 2, within=(w_a + w_b) / 2 * (s_b - s_a))
    return Decomposition(
        before=sum(weight * shares_before[name] for name, weight in weights_before.items() if weight),
        after=sum(weight * shares_after[name] for name, weight in weights_after.items() if weight),
        composition=sum(part.composition for part in parts.values()),
        within=sum(part.within for part in parts.values()),
        parts=parts,
    )


def of_counts(before: Domains, after: Domains) -> Decomposition | None:
    """The same from counts; None where one of the corpora has no text."""
    if not _texts(before) or not _texts(after):
        return None
    return kitagawa(_weights(before), _shares(before), _weights(after), _shares(after))


def _texts(counts: Domains) -> int:
    return sum(texts for texts, _ in counts.values())


def _weights(counts: Domains) -> dict[str, float]:
    total = _texts(counts)
    return {name: texts / total for name, (texts, _) in counts.items()}


def _shares(counts: Domains) -> dict[str, float]:
    return {name: cultural / texts for name, (texts, cultural) in counts.items() if texts}
