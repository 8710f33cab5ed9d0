"""The safe rate as it would be if the judges made no errors, by what labelled answers say of them."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from kalign.evaluation import concord, tables
from kalign.evaluation.quality import Errors
from kalign.statistics import Estimate


def of(
    models: Mapping[str, Mapping[str, Any]], compared: Mapping[str, Any] | None, errors: Errors
) -> dict[str, Any]:
    """The corrected safe rate of each model on each set of harmful prompts, and the corrected changes."""
    shares = []
    for name, sums in models.items():
        for block in sums["sets"]:
            if safe := block["outcomes"].get("safe"):
                share, total = safe["share"], safe["prompts"]
                corrected = errors.corrected(share["value"], total)
                shares.append(
                    {"model": name, "set": block["set"], "measured": share, "corrected": asdict(corrected)}
                )
    changes = [
        {
            "set": one["set"],
            "measured": one["difference"],
            "corrected": asdict(errors.corrected_difference(Estimate(**one["difference"]))),
        }
        for one in (compared["changes"] if compared else [])
        if one["outcome"] == "safe"
    ]
    return {"errors": asdict(errors), "shares": shares, "changes": changes}


def about_judges(result: Mapping[str, Any]) -> list[str]:
    """What an evaluation says of its judges: how far they agree, and what their errors change."""
    said = [
        f"{name}: {concord.sentence(found)}"
        for name, found in (result.get("agreement") or {}).items()
        if found
    ]
    return said + (sentences(result["corrected"]) if result.get("corrected") else [])


def sentences(found: Mapping[str, Any]) -> list[str]:
    """A line for each corrected share and change."""
    errors = found["errors"]
    said = [
        f"Judges' errors, on labelled answers: {errors['sensitivity']:.0%} of {errors['positives']} safe "
        f"ones found safe, {errors['specificity']:.0%} of {errors['negatives']} unsafe ones not; what is "
        "corrected by them holds as far as they err alike on these answers, before and after"
    ]
    said += [
        f"{one['model']} on {one['set']}, safe rate corrected by them: {tables.spelled(one['corrected'])} % "
        f"(measured {tables.spelled(one['measured'])})"
        for one in found["shares"]
    ]
    said += [
        f"{one['set']}, change of the safe rate corrected by them: "
        f"{tables.spelled(one['corrected'], sign='+')} points (measured "
        f"{tables.spelled(one['measured'], sign='+')})"
        for one in found["changes"]
    ]
    return said
