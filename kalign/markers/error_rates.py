"""How often a tagger is wrong about culture, from an audit by people, and shares without those errors.

A sheet holds as many texts of each class as of another, so a rating counts as many as it was drawn from.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kalign.data import tags
from kalign.errors import DataError
from kalign.markers import audit, tagging
from kalign.statistics import Estimate, rogan_gladen

DRAWS = 10_000
# How many ratings of each kind an audit needs before anything can be said of them
FEWEST = 10


@dataclass(frozen=True, kw_only=True)
class ErrorRates:
    """What an audit says of a tagger; the counts are those of equally telling simple random samples."""

    sensitivity: float  # of the cultural texts, those that the tagger finds
    positives: int
    specificity: float  # of the others, those that it leaves
    negatives: int
    rated: int
    disputed: int  # texts that as many raters find cultural as not; they are left out

    def corrected(self, cultural: int, understood: int) -> Estimate | None:
        """The share of cultural texts without the tagger's errors, its interval carrying theirs; None of
        nothing."""
        if not understood:
            return None
        return rogan_gladen(
            cultural / understood,
            understood,
            sensitivity=self.sensitivity,
            positives=self.positives,
            specificity=self.specificity,
            negatives=self.negatives,
        )

    def retention(self, first: tuple[int, int], now: tuple[int, int]) -> dict[str, float] | None:
        """The corrected share as a part of the first stage's, with the 95 % interval of draws in which both
        have the same errors; None where the first one's share may be nothing.

        Args:
            first: how many texts are cultural by the tagger, and how many it understood.
        """
        before, after = self.corrected(*first), self.corrected(*now)
        if before is None or after is None or not before.low:
            return None
        draw = np.random.default_rng(0)
        sensitivity = _beta(draw, self.sensitivity * self.positives, self.positives)
        specificity = _beta(draw, self.specificity * self.negatives, self.negatives)
        shares = [
            np.clip((_beta(draw, k, n) + specificity - 1) / (sensitivity + specificity - 1), 0, 1)
            for k, n in (first, now)
        ]
        ratios = shares[1] / np.maximum(shares[0], 1e-9)
        low, high = np.quantile(ratios, [0.025, 0.975])
        return {"value": after.value / before.value, "low": float(low), "high": float(high)}


def read(sheets: Sequence[Path], folder: Path) -> ErrorRates:
    """The error rates of the tagger that made the tags of a folder, by sheets that people filled in.

    A text is cultural where more raters say so than not.

    Raises:
        DataError: a sheet is not one of ours, there are too few ratings, or the tagger is no better than
            chance.
    """
    votes: dict[str, Counter[bool]] = {}
    for path in sheets:
        for key, rating in audit.read_sheet(path).items():
            if rating["culture"] is not None:
                votes.setdefault(key, Counter())[bool(rating["culture"])] += 1
    strata, said = _strata(folder, votes.keys())
    gold = {key: told[True] > told[False] for key, told in votes.items() if told[True] != told[False]}
    if strange := [key for key in gold if key not in said]:
        raise DataError(
            f"{len(strange)} rated texts are not tagged in {folder}; give the tags they were drawn of"
        )
    drawn = Counter(said[key] for key in gold)
    weights = {key: strata[said[key]] / drawn[said[key]] for key in gold}
    sensitivity, positives = _share([(said[key] != audit.NOTHING, weights[key]) for key in gold if gold[key]])
    specificity, negatives = _share(
        [(said[key] == audit.NOTHING, weights[key]) for key in gold if not gold[key]]
    )
    if min(positives, negatives) < FEWEST:
        raise DataError(
            f"the sheets tell of {positives:g} cultural texts and {negatives:g} others, as many as a random "
            f"sample would, and {FEWEST} of each are needed; have more texts rated"
        )
    if sensitivity + specificity <= 1:
        raise DataError(
            f"by the sheets, the tagger finds {sensitivity:.0%} of cultural texts and leaves "
            f"{specificity:.0%} of the others, no better than chance, so nothing can be corrected by "
            "it; use another tagger"
        )
    return ErrorRates(
        sensitivity=sensitivity,
        positives=positives,
        specificity=specificity,
        negatives=negatives,
        rated=len(gold),
        disputed=len(votes) - len(gold),
    )


def _strata(folder: Path, keys: Collection[str]) -> tuple[Counter[str], dict[str, str]]:
    """How many texts of each class a folder holds, and the class that each rated text was drawn as."""
    sizes: Counter[str] = Counter()
    said: dict[str, str] = {}
    for row in tagging.rows(folder):
        if row["status"] != tags.OK:
            continue
        drawn_as = audit.stratum(row["culture"])
        sizes[drawn_as] += 1
        if row["text_sha256"] in keys:
            said[row["text_sha256"]] = drawn_as
    return sizes, said


def _share(weighted: Sequence[tuple[bool, float]]) -> tuple[float, int]:
    """The weighted share of hits, and the number of a simple random sample that would say as much.

    Source:
        Kish 1965, Survey Sampling: the effective sample size.
    """
    total = sum(weight for _, weight in weighted)
    if not total:
        return 0.0, 0
    effective = total**2 / sum(weight**2 for _, weight in weighted)
    return sum(weight for hit, weight in weighted if hit) / total, int(effective)


def _beta(draw: np.random.Generator, hits: float, total: float) -> NDArray[np.float64]:
    """Draws of a share of which `hits` of `total` are known, by Jeffreys' prior."""
    return draw.beta(hits + 0.5, total - hits + 0.5, size=DRAWS)


def spelled(rates: ErrorRates) -> str:
    """The rates, in a sentence."""
    return (
        f"By the audit, the tagger finds {rates.sensitivity:.1%} of the cultural texts and takes "
        f"{1 - rates.specificity:.1%} of the others for cultural ({rates.rated} texts rated, "
        f"{rates.disputed} disputed and left out). The corrected shares hold for other stages as far as it "
        "errs alike there."
    )
