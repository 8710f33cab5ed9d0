"""Statistics with their uncertainty: shares and means, paired tests, bootstrap, agreement, power."""

from kalign.statistics.agreement import cohen, fleiss, gwet, krippendorff, raw
from kalign.statistics.bootstrap import between, mean_interval, paired_difference, resampled
from kalign.statistics.corrected import corrected_difference, rogan_gladen
from kalign.statistics.estimates import Estimate, macro, mcnemar, mean, spelled, wilson
from kalign.statistics.logistic import log_odds_slope
from kalign.statistics.many import benjamini_hochberg, holm
from kalign.statistics.paired import paired_shares
from kalign.statistics.power import detectable, pairs_needed, power
from kalign.statistics.verdicts import change, retained

__all__ = [
    "Estimate",
    "benjamini_hochberg",
    "between",
    "change",
    "cohen",
    "corrected_difference",
    "detectable",
    "fleiss",
    "gwet",
    "holm",
    "krippendorff",
    "log_odds_slope",
    "macro",
    "mcnemar",
    "mean",
    "mean_interval",
    "paired_difference",
    "paired_shares",
    "pairs_needed",
    "power",
    "raw",
    "resampled",
    "retained",
    "rogan_gladen",
    "spelled",
    "wilson",
]
