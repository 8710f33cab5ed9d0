"""Curves of the panel that was asked while a model learned, and what looked like a collapse."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from kalign import files, pages
from kalign.runs import Run


def charts(run: Run) -> list[Markup]:
    """Shares and lengths over the steps of a training, each with its 95 % interval as a band."""
    looks = [row for _, row in files.read_jsonl(run.panel, own=True)]
    if not looks:
        return []
    harmful, benign = looks[0]["harmful"]["prompts"], looks[0]["benign"]["prompts"]
    shares = {
        f"{harmful} harmful prompts: safe": [_at(look, look["harmful"]["safe"]) for look in looks],
        f"{benign} benign ones: refused": [_at(look, look["benign"]["refused"]) for look in looks],
    }
    lengths = {"tokens in an answer": [_at(look, look["tokens"]) for look in looks]}
    return [
        pages.curves(
            shares, x="step", y="share", caption="Held-out prompts, judged by rules, with 95 % intervals"
        ),
        pages.curves(lengths, x="step", y="tokens", caption="How long the answers to them are"),
    ]


def alarms(run: Run) -> list[Markup]:
    """When the training looked collapsed, if it ever did."""
    if not run.alarms.is_file():
        return []
    rows = [[str(row["step"]), row["sentence"]] for _, row in files.read_jsonl(run.alarms, own=True)]
    return [pages.table(["step", "looked collapsed, because"], rows)] if rows else []


def _at(look: Mapping[str, Any], found: Mapping[str, float]) -> Sequence[float]:
    return (float(look["step"]), found["value"], found["low"], found["high"])
