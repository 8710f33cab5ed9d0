"""Parallel coordinates: what many things have in common, each a line through one axis for each property."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

HIGH = 300  # pixels between the ends of an axis
TOP = 60


def parallel(
    names: Sequence[str], axes: Mapping[str, Sequence[Any]], *, by: str, caption: str = ""
) -> Markup:
    """One line a name through its value on each axis: numbers stand by size, other values in order.

    Colours go from blue to red with the value on the axis `by`; a value that is None stands at the bottom.

    Raises:
        ValueError: an axis has not one value a name, or there are fewer than two axes.
    """
    if len(axes) < 2:
        raise ValueError("lines need two axes")
    if wrong := [axis for axis, values in axes.items() if len(values) != len(names)]:
        raise ValueError(f"{wrong[0]} has not one value for each of {len(names)} names")
    wide = max(640, 180 * len(axes))
    places = {axis: 90 + number * (wide - 180) / (len(axes) - 1) for number, axis in enumerate(axes)}
    heights: dict[str, list[float]] = {}
    drawn = []
    for axis, values in axes.items():
        heights[axis], ticks = _placed(values)
        drawn.append(_axis(axis, places[axis], ticks))
    for number, name in enumerate(names):
        points = " ".join(f"{places[axis]:.1f},{_down(heights[axis][number]):.1f}" for axis in axes)
        drawn.append(
            Markup(
                '<polyline points="{}" style="stroke:hsl({:.0f},70%,50%)"><title>{}</title></polyline>'
            ).format(points, 220 * (1 - heights[by][number]), name)
        )
    unknown = " What is not known stands at the bottom." if any(None in row for row in axes.values()) else ""
    told = f"{caption} Point at a line for its name; red lines have the highest {by}.{unknown}"
    return Markup(
        '<figure class="wide"><svg viewBox="0 0 {0} {1}" width="{0}" role="img">{2}</svg>'
        "<figcaption>{3}</figcaption></figure>"
    ).format(wide, HIGH + 80, Markup().join(drawn), told)


def _axis(name: str, x: float, ticks: Sequence[tuple[float, str]]) -> Markup:
    drawn = Markup('<line class="axis" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>').format(
        x, TOP, TOP + HIGH
    )
    drawn += Markup('<text x="{:.1f}" y="34" text-anchor="middle">{}</text>').format(x, name)
    return drawn + Markup().join(
        Markup('<text class="tick" x="{:.1f}" y="{:.1f}">{}</text>').format(x + 6, _down(share) + 4, label)
        for share, label in ticks
    )


def _down(share: float) -> float:
    return TOP + (1 - share) * HIGH


def _placed(values: Sequence[Any]) -> tuple[list[float], list[tuple[float, str]]]:
    """Where each value lies between 0 and 1, and labels."""
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, int | float) and not isinstance(value, bool) for value in known):
        low, top = min(known), max(known)
        span = (top - low) or 1
        marks = sorted({low, top} if len(set(known)) > 6 else set(known))
        at = [0.0 if value is None else (value - low) / span for value in values]
        return at, [((mark - low) / span, f"{mark:.4g}") for mark in marks]
    spelled = [json.dumps(value, ensure_ascii=False) for value in values]
    names = sorted(set(spelled))
    share = {name: number / max(1, len(names) - 1) for number, name in enumerate(names)}
    return [share[name] for name in spelled], [(share[name], name[:24]) for name in names]
