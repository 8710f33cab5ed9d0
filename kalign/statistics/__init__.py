"""Statistics with their uncertainty: shares and means, paired tests, bootstrap, agreement, labels, power."""

from kalign.statistics.agreement import cohen, fleiss, gwet, krippendorff, raw
from kalign.statistics.bootstrap import mean_interval, paired_difference
from kalign.statistics.corrected import rogan_gladen
from kalign.statistics.estimates import Estimate, mcnemar, mean, wilson
from kalign.statistics.labels import by_label, macro_f1
from kalign.statistics.many import benjamini_hochberg, holm
from kalign.statistics.power import detectable, pairs_needed, power
from kalign.statistics.verdicts import change, retained

__all__ = [
    "Estimate",
    "benjamini_hochberg",
    "by_label",
    "change",
    "cohen",
    "detectable",
    "fleiss",
    "gwet",
    "holm",
    "krippendorff",
    "macro_f1",
    "mcnemar",
    "mean",
    "mean_interval",
    "paired_difference",
    "pairs_needed",
    "power",
    "raw",
    "retained",
    "rogan_gladen",
    "wilson",
]
