"""Charts as SVG in the page: bars with intervals, and curves. Colours come from the page's style."""

import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

Interval = tuple[float, float, float]  # a value, and the bounds of its interval
Value = float | Interval | None  # None: there is nothing to draw
COLOURS = 6
WIDE = 720


def bars(
    labels: Sequence[str],
    series: Mapping[str, Sequence[Value]],
    *,
    top: float | None = None,
    spelled: Callable[[float], str] = "{:.0%}".format,
    caption: str = "",
) -> Markup:
    """Horizontal bars, one of each series a label, with a line for an interval; `top` is the axis' end.

    Raises:
        ValueError: a series has not one value a label, more series than colours, a value below 0.
    """
    for name, values in series.items():
        if len(values) != len(labels):
            raise ValueError(f"{len(values)} values of {name} for {len(labels)} labels")
    _require_colours(series)
    known = [value for values in series.values() for value in values if value is not None]
    if any(_bounds(value)[0] < 0 for value in known):
        raise ValueError("bars start at 0; a chart of values below it wants curves")
    top = top or max((_bounds(value)[2] for value in known), default=0.0) or 1.0
    left = min(280, 20 + max((_width(label) for label in labels), default=0))
    frame = _Frame(
        left=left, scale=(WIDE - left - 120) / top, thick=18 if len(series) == 1 else 12, spelled=spelled
    )
    drawn, y = [], 8.0
    for place, label in enumerate(labels):
        block = frame.thick * len(series)
        drawn.append(
            Markup('<text x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(
                left - 10, y + block / 2 + 4, _shortened(label, left - 20)
            )
        )
        for number, (name, values) in enumerate(series.items()):
            told = f"{label}, {name}"
            drawn.append(_bar(values[place], frame, number, y + number * frame.thick, told))
        y += block + 10
    axis = Markup('<line class="axis" x1="{0}" x2="{0}" y1="4" y2="{1:.0f}"/>').format(left, y)
    picture = _svg(y + 6, axis + Markup().join(drawn), "bars")
    return _figure(picture, series, caption)


def curves(
    series: Mapping[str, Sequence[Sequence[float]]],
    *,
    x: str,
    y: str,
    caption: str = "",
) -> Markup:
    """Curves through points in the order given; `x` and `y` name the axes.

    Args:
        series: points are (x, y), or (x, y, low, high), whose interval is drawn as a band.

    Raises:
        ValueError: there are more series than colours, or a number is not finite.
    """
    _require_colours(series)
    points = [point for line in series.values() for point in line]
    if not all(math.isfinite(number) for point in points for number in point):
        raise ValueError("a curve has a point that is not finite")
    if not points:
        return Markup('<p class="note">{}: nothing was recorded.</p>').format(caption or y)
    left, top, high = 64, 38, 240
    heights = [number for point in points for number in point[1:]]
    x_ticks, y_ticks = _ticks([point[0] for point in points]), _ticks(heights)

    def at(point: Sequence[float]) -> str:
        across = (point[0] - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        up = (point[1] - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return f"{left + across * (WIDE - left - 24):.1f},{top + (1 - up) * high:.1f}"

    drawn = []
    for tick in y_ticks:
        height = at((x_ticks[0], tick)).split(",")[1]
        drawn.append(
            Markup('<line class="axis" x1="{0}" x2="{1}" y1="{2}" y2="{2}"/>').format(left, WIDE - 24, height)
        )
        drawn.append(
            Markup('<text class="tick" x="{}" y="{}" dy="4" text-anchor="end">{:.4g}</text>').format(
                left - 6, height, tick
            )
        )
    for tick in x_ticks:
        across = at((tick, y_ticks[0])).split(",")[0]
        drawn.append(
            Markup('<text class="tick" x="{}" y="{}" text-anchor="middle">{:.6g}</text>').format(
                across, top + high + 18, tick
            )
        )
    drawn.append(
        Markup('<text class="tick" x="{}" y="{}" text-anchor="end">{}</text>').format(
            WIDE - 24, top + high + 38, x
        )
    )
    drawn.append(Markup('<text class="tick" x="4" y="19">{}</text>').format(y))
    for number, (name, line) in enumerate(series.items()):
        if band := [point for point in line if len(point) == 4]:
            edge = [(point[0], point[3]) for point in band]
            edge += [(point[0], point[2]) for point in reversed(band)]
            shape = '<polygon class="f{} band" points="{}"/>'
            drawn.append(Markup(shape).format(number, " ".join(map(at, edge))))
        drawn.append(
            Markup('<polyline class="l{}" points="{}"><title>{}</title></polyline>').format(
                number, " ".join(map(at, line)), name
            )
        )
    return _figure(_svg(top + high + 44, Markup().join(drawn), "curves"), series, caption)


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """Where the bars start, how many pixels a unit takes, how thick a bar is, how its value is spelled."""

    left: float
    scale: float
    thick: int
    spelled: Callable[[float], str]


def _bar(value: Value, frame: _Frame, number: int, y: float, told: str) -> Markup:
    base = y + frame.thick - 3
    if value is None:
        return Markup('<text class="tick" x="{}" y="{:.1f}">–</text>').format(frame.left + 6, base)
    middle, low, high = _bounds(value)
    told += f": {frame.spelled(middle)}"
    if low != high:
        told += f" [{frame.spelled(low)}, {frame.spelled(high)}]"
    drawn = Markup(
        '<rect class="f{}" x="{}" y="{:.1f}" width="{:.1f}" height="{}"><title>{}</title></rect>'
    ).format(number, frame.left, y, max(1.0, middle * frame.scale), frame.thick - 2, told)
    if low != high:
        drawn += Markup('<line class="mark" x1="{0:.1f}" x2="{1:.1f}" y1="{2:.1f}" y2="{2:.1f}"/>').format(
            frame.left + low * frame.scale, frame.left + high * frame.scale, y + frame.thick / 2 - 1
        )
    return drawn + Markup('<text class="tick" x="{:.1f}" y="{:.1f}">{}</text>').format(
        frame.left + high * frame.scale + 8, base, frame.spelled(middle)
    )


def _bounds(value: float | Interval) -> Interval:
    return value if isinstance(value, tuple) else (value, value, value)


def _ticks(numbers: Sequence[float]) -> list[float]:
    """Up to eight round numbers that hold all of them between the first and the last; whole ones for whole
    numbers."""
    low, high = min(numbers), max(numbers)
    least = 1.0 if all(float(number).is_integer() for number in numbers) else 0.0
    if low == high:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    rough = max((high - low) / 5, least)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _require_colours(series: Mapping[str, object]) -> None:
    if len(series) > COLOURS:
        raise ValueError(f"{len(series)} series in one chart; the eye keeps {COLOURS} apart")


def _width(label: str) -> int:
    """About how wide a label is, in pixels: a wide letter, as of East Asia, takes twice a narrow one."""
    return sum(13 if unicodedata.east_asian_width(letter) in "WF" else 7 for letter in label)


def _shortened(label: str, wide: int) -> str:
    short = label
    while _width(short) > wide:
        short = short[:-1]
    return label if short == label else f"{short[:-1]}…"


def _svg(high: float, inner: Markup, kind: str) -> Markup:
    return Markup('<svg class="{}" viewBox="0 0 {:.0f} {:.0f}" width="{:.0f}" role="img">{}</svg>').format(
        kind, WIDE, high, WIDE, inner
    )


def _figure(picture: Markup, series: Mapping[str, object], caption: str) -> Markup:
    keys = Markup().join(
        Markup('<span class="key"><i class="f{}"></i>{}</span>').format(number, name)
        for number, name in enumerate(series)
    )
    return Markup("<figure>{}{}<figcaption>{}</figcaption></figure>").format(
        Markup("<div>{}</div>").format(keys) if len(series) > 1 else Markup(), picture, caption
    )
