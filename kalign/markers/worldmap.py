"""A map of the world as SVG in a page: the more texts name a country, the darker it is."""

import json
import math
from collections.abc import Mapping
from functools import cache

from markupsafe import Markup

from kalign.markers import schema

WIDE, HIGH = 1000, 394
PALEST = 0.18


@cache
def outlines() -> dict[str, str]:
    """The outline of each country as an SVG path, by its two letters; without a code, by a name."""
    return dict(json.loads((schema.TABLES / "world.json").read_text(encoding="utf-8")))


def draw(counts: Mapping[str, int], *, caption: str) -> Markup:
    """The map with a legend; countries too small for an outline are named below it.

    Args:
        counts: by ISO 3166-1 alpha-2; what is not there has none.
    """
    most = max(counts.values(), default=0)
    names = schema.countries()
    drawn = []
    for code, path in outlines().items():
        count = counts.get(code, 0)
        told = f"{names.get(code, code.lstrip('-'))}: {count:,}"
        drawn.append(
            Markup('<path d="{}" style="{}"><title>{}</title></path>').format(path, _style(count, most), told)
        )
    picture = Markup('<svg viewBox="0 0 {} {}" width="{}" role="img" aria-label="{}">{}</svg>').format(
        WIDE, HIGH, WIDE, caption, Markup().join(drawn)
    )
    hidden = [
        f"{names[code]} {count:,}" for code, count in counts.items() if count and code not in outlines()
    ]
    below = f"{caption}. {_legend(most)}" + (
        f" Too small to be drawn: {', '.join(hidden)}." if hidden else ""
    )
    return Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(picture, below)


def _style(count: int, most: int) -> str:
    """How a country is filled: by the logarithm of its count, because a few have nearly all."""
    edge = "stroke:var(--line);stroke-width:.6"
    if not count:
        return f"fill:var(--shade);{edge}"
    depth = PALEST + (1 - PALEST) * (math.log(count) / math.log(most) if most > 1 else 1.0)
    return f"fill:var(--s0);fill-opacity:{depth:.2f};{edge}"


def _legend(most: int) -> str:
    return f"Palest 1, darkest {most:,}, by the logarithm; grey 0." if most else "No country is named."
