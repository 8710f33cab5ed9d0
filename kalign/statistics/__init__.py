"""Statistics with their uncertainty: shares and means, paired tests, bootstrap, agreement, power."""

from kalign.statistics.agreement import cohen, fleiss, gwet, krippendorff, raw
from kalign.statistics.bootstrap import between, mean_interval, paired_difference, resampled
from kalign.statistics.corrected import rogan_gladen
from kalign.statistics.estimates import Estimate, macro, mcnemar, mean, wilson
from kalign.statistics.many import benjamini_hochberg, holm
from kalign.statistics.power import detectable, pairs_needed, power
from kalign.statistics.verdicts import change, retained

__all__ = [
    "Estimate",
    "benjamini_hochberg",
    "between",
    "change",
    "cohen",
    "detectable",
    "fleiss",
    "gwet",
    "holm",
    "krippendorff",
    "macro",
    "mcnemar",
    "mean",
    "mean_interval",
    "paired_difference",
    "pairs_needed",
    "power",
    "raw",
    "resampled",
    "retained",
    "rogan_gladen",
    "wilson",
]
