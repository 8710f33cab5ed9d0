"""What a training or an evaluation took: time, devices, tokens, and money where endpoints answered."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kalign import pages
from kalign.pages import Section
from kalign.providers import Ledger

LEDGER = "ledger.sqlite"


def of_run(result: Mapping[str, Any]) -> Section:
    """The cost of a training, of its last call where it was interrupted."""
    pace = result["pace"]
    rows = [
        ["steps", f"{result['steps']:,}"],
        ["time of the last call", _duration(result["seconds"])],
        ["seconds a step", _number(pace["seconds_per_step"])],
        ["devices", f"{pace['ranks']} × {pace['device']}"],
        ["device hours of the last call", f"{result['seconds'] * pace['ranks'] / 3600:.3f}"],
        ["peak memory of one, GiB", _number(pace["peak_gib"])],
        *([name, f"{count:,}"] for name, count in result["tokens"].items()),
    ]
    return Section(title="Cost of the training", parts=[pages.table(["", ""], rows)])


def of_evaluation(folder: Path, models: Mapping[str, Any]) -> Section:
    """The cost of an evaluation: tokens written by each model, and what endpoints were paid."""
    rows = [
        [f"tokens written, {name}", f"{sums['tokens'] * _prompts(sums):,.0f}"]
        for name, sums in models.items()
    ]
    if (folder / LEDGER).is_file():
        with Ledger(folder / LEDGER) as ledger:
            counts, spent = ledger.counts(), ledger.spent()
        for (provider, model, status), count in counts.items():
            rows.append([f"answers of {provider}, {model}: {status}", f"{count:,}"])
        rows.append(["US dollars, where a price is known", f"{spent:.4f}"])
    else:
        rows.append(["answers of endpoints", "none"])
    return Section(title="Cost of the evaluation", parts=[pages.table(["", ""], rows)])


def _prompts(sums: Mapping[str, Any]) -> int:
    return sum(int(block["prompts"]) for block in sums["sets"])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _duration(seconds: float) -> str:
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {left:02} s"
