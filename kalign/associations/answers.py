"""Reading what a model answered: a list of words, or a ranking."""

import re
from collections.abc import Iterable, Sequence

from kalign.associations.norms import clean

NUMBERED = re.compile(r"^\s*\d+[.)]\s+(.+)$", re.MULTILINE)
SEPARATORS = (",", "，", "、", "\n")


def words(answer: str) -> list[str]:
    """The words of a list, cleaned, each once, in their order; whichever separator finds most decides.

    >>> words("Rice, fish,  rice")
    ['rice', 'fish']
    """
    ways = [NUMBERED.findall(answer), *(answer.split(separator) for separator in SEPARATORS)]
    return unique(clean(word.strip(" .*·-")) for word in max(ways, key=len))


def words_compat(answer: str) -> list[str]:
    """The words of a list as ALIGN's code reads them: only pure ASCII is split at ",".

    Source:
        github.com/kabir-manandhar/Cultural-Lexis at 3e316be, finetuning_evaluation/eval_score.py.
    """
    found = answer.split(",") if answer.isascii() else max(answer.split("，"), answer.split("、"), key=len)
    numbered = re.findall(r"^\d+\.\s+(.+)$", answer, re.MULTILINE)
    if len(numbered) > len(found):
        found = numbered
    return unique(word.strip().lower() for word in found)


def unique(found: Iterable[str]) -> list[str]:
    """Texts that are not empty, each once, in their order."""
    return [word for word in dict.fromkeys(found) if word]


def ranking(answer: str, marker: str, gold: Sequence[str]) -> list[str]:
    """The gold words that the last ranking of an answer lists, by their ranks, each once; none without it."""
    start = answer.lower().rfind(marker.lower())
    if start < 0:
        return []
    lines = re.findall(r"(\d+)\s*[:：.]\s*(.*)", answer[start + len(marker) :])
    by_rank = sorted(lines, key=lambda line: int(line[0]))  # sorted keeps the order of equal ranks
    known = {clean(word): word for word in gold}
    listed = unique(clean(word.replace("*", "").strip(" []")) for _, word in by_rank)
    return [known[word] for word in listed if word in known]


def well_formed(answer: str, marker: str, gold: Sequence[str]) -> bool:
    """Whether an answer ranks every gold word."""
    return len(ranking(answer, marker, gold)) == len(gold)
