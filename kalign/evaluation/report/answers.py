"""Answers side by side, every citation in them marked as verified or not."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from kalign import pages

MOST = 20  # prompts shown of a category; a page of thousands would open on no phone


def side_by_side(
    columns: Sequence[str], by_category: Mapping[str, Sequence[Sequence[str | Markup]]], where: str
) -> list[Markup]:
    """A fold for each category, with a row a prompt; `where` says which file has those that are left out."""
    folds = []
    for category, rows in sorted(by_category.items()):
        left = len(rows) - MOST
        parts = [pages.table(columns, rows[:MOST])]
        if left > 0:
            parts.append(pages.text(f"{left} more in {where}.", soft=True))
        folds.append(pages.fold(f"{category}: {len(rows)} prompts", parts))
    return folds


def marked(answer: str, citations: Sequence[Mapping[str, Any]], note: str = "") -> Markup:
    """The answer with each citation coloured: ✓ exists, ✗ does not, ? where a table cannot tell.

    Args:
        citations: each with `text`, `status` and `exists`, which is None where nobody can tell.
        note: what stands under the answer, such as its verdict.
    """
    by_text = {str(one["text"]): one for one in citations if one["text"]}
    longest_first = sorted(by_text, key=lambda text: (-len(text), text))
    pieces, end, seen = Markup(), 0, set()
    pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
    for match in pattern.finditer(answer):
        pieces += escape(answer[end : match.start()]) + _mark(match[0], by_text[match[0]])
        end = match.end()
        seen.add(match[0])
    pieces += escape(answer[end:])
    for text in longest_first:  # spelled otherwise in the answer, such as in another composition
        if text not in seen:
            pieces += Markup("\n") + _mark(text, by_text[text])
    return pieces + (Markup('\n<span class="note">{}</span>').format(note) if note else Markup())


def _mark(text: str, citation: Mapping[str, Any]) -> Markup:
    tone, sign = {True: ("good", "✓"), False: ("bad", "✗")}.get(citation["exists"], ("", "?"))
    said = str(citation["status"]).replace("_", " ")
    return Markup('<span class="{}" title="{}">{} {}</span>').format(tone, said, text, sign)
