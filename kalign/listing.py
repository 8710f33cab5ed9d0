"""Runs side by side: what each one is, how far it came, what it found out, and where two of them differ."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup
from rich.console import Console
from rich.table import Table

from kalign import locks, pages, runs
from kalign.errors import ConfigError, DataError
from kalign.pages import Section
from kalign.runs import Run

RESULTS = {"reward_accuracy": "held-out accuracy", "reward_margin": "held-out margin"}


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One run folder: a result has `value`, `low` and `high`, its 95 % interval."""

    run: str
    recipe: str
    state: str  # finished, running, stopped where the same command goes on, or damaged
    steps: int
    results: dict[str, dict[str, float] | None]
    when: str
    settings: dict[str, Any]  # of a damaged one, none
    fault: str | None = None  # what a damaged one lacks


def found(folder: Path) -> list[Listed]:
    """Every run in a folder, oldest first; one that cannot be read hides no other.

    Raises:
        ConfigError: there is no such folder.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder of runs; give runs_dir=FOLDER, or train first")
    listed = [_any(path) for path in folder.iterdir() if (path / "manifest.json").is_file()]
    return sorted(listed, key=lambda each: (each.when, each.run))


def read(path: Path) -> Listed:
    """What one run folder says.

    Raises:
        ConfigError: it is no run's folder.
        DataError: a file in it cannot be read.
    """
    run = Run(path)
    if not run.manifest.is_file():
        raise ConfigError(f"{path} is no run's folder; kalign runs lists them")
    try:
        return _read(run)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as wrong:
        raise DataError(
            f"{path} is not as a training leaves it ({type(wrong).__name__}: {wrong}); move it elsewhere"
        ) from wrong


def _any(path: Path) -> Listed:
    try:
        return read(path)
    except DataError as wrong:
        return Listed(
            run=path.name,
            recipe="-",
            state="damaged",
            steps=0,
            results=dict.fromkeys(RESULTS),
            when=_minute(path),
            settings={},
            fault=str(wrong),
        )


def _read(run: Run) -> Listed:
    manifest = _json(run.manifest)
    result = _json(run.result) if run.result.is_file() else None
    held_out = (result or {}).get("held_out") or {}
    numbers = [each.name.removeprefix("checkpoint-") for each in run.checkpoints.glob("checkpoint-*")]
    steps = [int(number) for number in numbers if number.isdigit()]
    return Listed(
        run=run.path.name,
        recipe=manifest["recipe"]["name"],
        state="finished" if result else "running" if _is_held(run) else "stopped",
        steps=result["steps"] if result else max(steps, default=0),
        results={key: (held_out.get(key) or {}).get("after") for key in RESULTS},
        when=_minute(run.result if result else run.manifest),
        settings=runs.flat({key: value for key, value in manifest["recipe"].items() if key != "runs_dir"}),
    )


def _is_held(run: Run) -> bool:
    try:
        return locks.is_held(run.lock)
    except OSError:  # of somebody else, whose lock may only be looked at
        return False


def _minute(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime).isoformat(" ", "minutes")


def _json(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} holds no object")
    return content


def differing(listed: Sequence[Listed]) -> dict[str, list[Any]]:
    """Each setting that is not the same in all runs that can be read, with its value in each."""
    read = [each.settings for each in listed if not each.fault]
    keys = sorted({key for settings in read for key in settings})
    differ = [key for key in keys if any(settings.get(key) != read[0].get(key) for settings in read)]
    return {key: [each.settings.get(key) for each in listed] for key in differ}


def document(listed: Sequence[Listed]) -> dict[str, Any]:
    """What `--json` prints."""
    shown = [{key: value for key, value in asdict(each).items() if key != "settings"} for each in listed]
    return {"runs": shown, "differing": differing(listed)}


def spelled(result: dict[str, float] | None) -> str:
    """A result with its interval."""
    return "-" if result is None else f"{result['value']:.3f} [{result['low']:.3f}, {result['high']:.3f}]"


def rows(listed: Sequence[Listed]) -> list[list[str]]:
    """The table's rows, as text."""
    return [
        [each.run, each.recipe, each.state, str(each.steps)]
        + [spelled(each.results[key]) for key in RESULTS]
        + [each.when]
        for each in listed
    ]


COLUMNS = ["run", "recipe", "state", "steps", *RESULTS.values(), "when"]


def say(console: Console, listed: Sequence[Listed], *, compare: bool) -> None:
    """Print the runs; with `compare`, what differs between them too."""
    table = Table(title="Runs, with 95 % intervals", title_justify="left")
    for column in COLUMNS:  # a run's name is a word of the next command, so it stays whole
        table.add_column(column, no_wrap=column == "run", overflow="fold")
    for row in rows(listed):
        table.add_row(*row)
    console.print(table)
    if compare:
        settings = Table(title="Settings that differ", title_justify="left")
        for column in ("setting", *(each.run for each in listed)):
            settings.add_column(column)
        for key, values in differing(listed).items():
            settings.add_row(key, *(json.dumps(value, ensure_ascii=False) for value in values))
        console.print(settings)


def page(listed: Sequence[Listed]) -> str:
    """One HTML page that needs nothing else: the table, and each run as a line through its settings and
    results."""
    table = Section(title="All", parts=[pages.table(COLUMNS, rows(listed))])
    lines = Section(title="Settings and results", parts=[_lines(listed)])
    return pages.page("Runs", [table, lines], lead="Results on the held-out pairs, with 95 % intervals.")


def _lines(listed: Sequence[Listed]) -> Markup:
    """Each finished run as a line: an axis for each setting that differs, and for each result."""
    finished = [each for each in listed if any(each.results.values())]
    if len(finished) < 2:
        return pages.text("Two finished runs and more are drawn as lines through their settings and results.")
    axes = {key: values for key, values in differing(finished).items() if key != "name"}
    for key, name in RESULTS.items():
        axes[name] = [(each.results[key] or {}).get("value") for each in finished]
    return pages.parallel(
        [each.run for each in finished], axes, by=RESULTS["reward_accuracy"], caption="Each line is a run."
    )
