"""A page of sections, and the parts that a section is made of: text, tables, charts, folds.

Parts are markup; whatever text is handed in is escaped, so that an answer of a model stays text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup, escape

from kalign import __version__

HERE = Path(__file__).parent
LONG, PHRASE = 60, 20  # characters from which a cell is wrapped as a text, and as a few words


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading, and what stands under it."""

    title: str
    parts: Sequence[Markup]


@dataclass(frozen=True)
class Cell:
    """A cell of a table with a tone: good, bad, or none."""

    text: str
    tone: str = ""

    def __str__(self) -> str:
        return self.text


def page(title: str, sections: Sequence[Section], *, lead: str = "", language: str = "en") -> str:
    """The whole page as text, to be written to one file."""
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True)
    style = Markup((HERE / "page.css").read_text(encoding="utf-8"))  # our own file: not escaped
    return environment.get_template("page.html").render(
        title=title,
        lead=lead,
        sections=sections,
        language=language,
        style=style,
        footer=f"kalign {__version__}. This page fetches nothing.",
    )


def text(words: str, *, soft: bool = False) -> Markup:
    """A paragraph; line breaks in it stay."""
    return Markup('<p class="{}">{}</p>').format("note" if soft else "", words)


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str | Cell | Markup]], *, caption: str = ""
) -> Markup:
    """A table that scrolls by itself where the screen is narrow; columns of numbers align to the right.

    Raises:
        ValueError: a row has not one cell a column.
    """
    if wrong := [row for row in rows if len(row) != len(columns)]:
        raise ValueError(f"a row of {len(wrong[0])} cells in a table of {len(columns)} columns")
    numbers = [
        bool(rows) and all(_is_number(str(row[place])) for row in rows) for place in range(len(columns))
    ]
    head = Markup().join(
        Markup('<th scope="col" class="{}">{}</th>').format("number" if number else "", name)
        for name, number in zip(columns, numbers, strict=True)
    )
    body = Markup().join(
        Markup("<tr>{}</tr>\n").format(Markup().join(map(_cell, row, numbers))) for row in rows
    )
    title = Markup("<caption>{}</caption>").format(caption) if caption else Markup()
    return Markup(
        '<div class="wide"><table>{}<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>'
    ).format(title, head, body)


def fold(summary: str, parts: Sequence[Markup]) -> Markup:
    """Parts that show after a click on their summary."""
    return Markup("<details><summary>{}</summary>{}</details>").format(summary, Markup().join(parts))


def _cell(content: str | Cell | Markup, number: bool) -> Markup:
    tone = content.tone if isinstance(content, Cell) else ""
    length = len(str(content))
    shape = "number" if number else "long" if length > LONG else "text" if length > PHRASE else ""
    inner = escape(content.text) if isinstance(content, Cell) else escape(content)
    return Markup('<td class="{}">{}</td>').format(f"{shape} {tone}".strip(), inner)


def _is_number(content: str) -> bool:
    return bool(content) and set(content) <= set("0123456789.,-+−–%×e[] ") and len(content) < 30
