"""Runs side by side: what each one is, how far it came, what it found out, and where two of them differ."""

import html
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from kalign import runs
from kalign.errors import ConfigError, DataError
from kalign.runs import Run

RESULTS = {"reward_accuracy": "held-out accuracy", "reward_margin": "held-out margin"}


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One run folder: a result has `value`, `low` and `high`, its 95 % interval."""

    run: str
    recipe: str
    state: str  # finished, or stopped where the same command goes on
    steps: int
    results: dict[str, dict[str, float] | None]
    when: str
    settings: dict[str, Any]


def found(folder: Path) -> list[Listed]:
    """Every run in a folder, oldest first.

    Raises:
        ConfigError: there is no such folder.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder of runs; give runs_dir=FOLDER, or train first")
    listed = [read(path) for path in folder.iterdir() if (path / "manifest.json").is_file()]
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
    manifest = _json(run.manifest)
    result = _json(run.result) if run.result.is_file() else None
    held_out = (result or {}).get("held_out") or {}
    newest = run.result if result else run.manifest
    steps = [int(each.name.rsplit("-", 1)[1]) for each in run.checkpoints.glob("checkpoint-*")]
    return Listed(
        run=path.name,
        recipe=manifest["recipe"]["name"],
        state="finished" if result else "stopped",
        steps=result["steps"] if result else max(steps, default=0),
        results={key: (held_out.get(key) or {}).get("after") for key in RESULTS},
        when=datetime.fromtimestamp(newest.stat().st_mtime).isoformat(" ", "minutes"),
        settings=runs.flat({key: value for key, value in manifest["recipe"].items() if key != "runs_dir"}),
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as wrong:
        raise DataError(f"{path} cannot be read ({wrong}); remove that run's folder") from wrong


def differing(listed: Sequence[Listed]) -> dict[str, list[Any]]:
    """Each setting that is not the same in all runs, with its value in each."""
    keys = sorted({key for each in listed for key in each.settings})
    values = {key: [each.settings.get(key) for each in listed] for key in keys}
    return {key: row for key, row in values.items() if any(value != row[0] for value in row)}


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
    for column in COLUMNS:
        table.add_column(column)
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
    head = "".join(f"<th>{html.escape(column)}</th>" for column in COLUMNS)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows(listed)
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Runs</title><style>'
        "body{font:15px/1.5 system-ui,sans-serif;margin:2rem;color:#1a1a1a}td,th{padding:.3rem .8rem;"
        "text-align:left;border-bottom:1px solid #ddd}svg{max-width:100%;height:auto}"
        "polyline{fill:none;stroke-width:2;opacity:.75}polyline:hover{stroke-width:5;opacity:1}</style>"
        f"<h1>Runs</h1><table><tr>{head}</tr>{body}</table>{_lines(listed)}</html>"
    )


def _lines(listed: Sequence[Listed]) -> str:
    """Parallel coordinates as SVG: an axis for each setting that differs, and for each result."""
    finished = [each for each in listed if any(each.results.values())]
    axes = {key: values for key, values in differing(finished).items() if key != "name"} if finished else {}
    for key, name in RESULTS.items():
        axes[name] = [(each.results[key] or {}).get("value") for each in finished]
    if len(finished) < 2:
        return "<p>Two finished runs and more are drawn as lines through their settings and results.</p>"
    wide, high = max(640, 180 * len(axes)), 300
    places = {name: 90 + number * (wide - 180) / (len(axes) - 1) for number, name in enumerate(axes)}
    drawn = []
    heights: list[list[float]] = []
    for name, values in axes.items():
        at, ticks = _axis(values)
        heights.append([60 + (1 - share) * high for share in at])
        x = places[name]
        drawn.append(f'<line x1="{x}" x2="{x}" y1="60" y2="{60 + high}" stroke="#888"/>')
        drawn.append(f'<text x="{x}" y="34" text-anchor="middle">{html.escape(name)}</text>')
        drawn += [
            f'<text x="{x + 6}" y="{64 + (1 - share) * high}" font-size="11">{html.escape(label)}</text>'
            for share, label in ticks
        ]
    for number, each in enumerate(finished):
        points = " ".join(
            f"{x},{height[number]:.1f}" for x, height in zip(places.values(), heights, strict=True)
        )
        hue = 220 - 200 * (1 - (heights[-2][number] - 60) / high)  # blue: lowest accuracy, red: highest
        drawn.append(
            f'<polyline points="{points}" stroke="hsl({hue:.0f},70%,45%)"><title>{html.escape(each.run)}'
            "</title></polyline>"
        )
    return (
        "<h2>Settings and results</h2><p>Each line is a run; point at one for its name. "
        f'Red lines have the highest accuracy.</p><svg viewBox="0 0 {wide} {high + 100}" role="img" '
        f'font-size="13">{"".join(drawn)}</svg>'
    )


def _axis(values: Sequence[Any]) -> tuple[list[float], list[tuple[float, str]]]:
    """Where each value lies between 0 and 1, and labels: numbers by size, other values in order."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        low, top = min(values), max(values)
        span = (top - low) or 1
        marks = sorted({low, top} if len(set(values)) > 6 else set(values))
        return [(value - low) / span for value in values], [((m - low) / span, f"{m:.4g}") for m in marks]
    names = sorted({json.dumps(value, ensure_ascii=False) for value in values})
    share = {name: number / max(1, len(names) - 1) for number, name in enumerate(names)}
    at = [share[json.dumps(value, ensure_ascii=False)] for value in values]
    return at, [(share[name], name[:24]) for name in names]
