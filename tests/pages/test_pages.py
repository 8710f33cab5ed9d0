"""Pages: what is handed in stays text, nothing is fetched, and charts hold what they are given."""

import re

import pytest

from kalign import pages
from kalign.pages import Cell, Section

EVIL = '<script src="https://example.org/x.js"></script>'


def test_whatever_is_handed_in_stays_text() -> None:
    parts = [
        pages.text(EVIL),
        pages.table([EVIL], [[EVIL], [Cell(EVIL, "bad")]], caption=EVIL),
        pages.fold(EVIL, [pages.text(EVIL)]),
        pages.bars([EVIL], {EVIL: [0.5]}, caption=EVIL),
        pages.curves({EVIL: [(0, 1), (1, 2)]}, x=EVIL, y=EVIL, caption=EVIL),
    ]
    written = pages.page(EVIL, [Section(title=EVIL, parts=parts)], lead=EVIL)
    assert "<script" not in written
    assert written.count("&lt;script") > 10


def test_a_page_fetches_nothing_and_says_so_to_the_browser() -> None:
    written = pages.page("A", [Section(title="B", parts=[pages.text("c")])])
    assert "default-src 'none'" in written
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//|@import|url\(", written)


def test_columns_of_numbers_are_aligned_and_others_are_not() -> None:
    made = pages.table(["name", "share"], [["Seoul 1", "0.52 [0.50, 0.55]"], ["Busan", "–"]])
    assert made.count('class="number"') == 3
    with pytest.raises(ValueError, match="2 columns"):
        pages.table(["a", "b"], [["1"]])


def test_a_bar_is_as_long_as_its_share_of_the_top() -> None:
    made = pages.bars(["a", "b", "c"], {"now": [1.0, (0.5, 0.4, 0.6), None]}, top=1.0)
    full, half = (float(wide) for wide in re.findall(r'<rect[^>]* width="([\d.]+)"', made))
    assert half == pytest.approx(full / 2, abs=0.1)
    assert "b, now: 50% [40%, 60%]" in made
    assert made.count('class="mark"') == 1
    assert "–" in made


def test_curves_run_through_their_points_between_round_ticks() -> None:
    made = pages.curves({"loss": [(0, 0.69), (10, 0.31)]}, x="step", y="loss")
    first, last = re.search(r'points="([\d.]+,[\d.]+) ([\d.]+,[\d.]+)"', made).groups()  # type: ignore[union-attr]
    assert float(first.split(",")[0]) < float(last.split(",")[0])
    assert float(first.split(",")[1]) < float(last.split(",")[1])  # SVG counts downwards
    assert ">0.3<" in made and ">0.7<" in made and ">10<" in made
    assert "nothing was recorded" in pages.curves({"loss": []}, x="step", y="loss")


def test_parallel_lines_stand_by_size_and_none_at_the_bottom() -> None:
    made = pages.parallel(["a", EVIL, "c"], {"rate": [0.1, 0.5, None], "kind": ["x", "y", "x"]}, by="rate")
    lines = [line.split() for line in re.findall(r'points="([^"]+)"', made)]
    first, second, none = (float(line[0].split(",")[1]) for line in lines)
    assert second < first == none  # SVG counts downwards
    assert lines[0][1] == lines[2][1] != lines[1][1]
    assert "not known stands at the bottom" in made
    assert "<script" not in made


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: pages.bars(["a"], {"x": []}), "0 values of x for 1 labels"),
        (lambda: pages.bars(["a"], {"x": [-1.0]}), "start at 0"),
        (lambda: pages.bars([], {str(n): [] for n in range(7)}), "7 series"),
        (lambda: pages.curves({"x": [(0, float("nan"))]}, x="a", y="b"), "not finite"),
        (lambda: pages.parallel(["a"], {"x": [1]}, by="x"), "two axes"),
        (lambda: pages.parallel(["a"], {"x": [1], "y": []}, by="x"), "y has not one value"),
    ],
)
def test_what_cannot_be_drawn_is_refused(wrong, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        wrong()


def test_an_interval_is_a_band_behind_its_curve() -> None:
    made = pages.curves({"safe": [(0, 0.5, 0.25, 0.75), (10, 1.0, 0.5, 1.0)]}, x="step", y="share")
    [band] = re.findall(r'<polygon class="f0 band" points="([^"]*)"', made)
    [line] = re.findall(r'<polyline class="l0" points="([^"]*)"', made)
    corners = [tuple(map(float, corner.split(","))) for corner in band.split()]
    (_, first), (_, last) = [tuple(map(float, point.split(","))) for point in line.split()]
    assert len(corners) == 4
    assert corners[0][1] < first < corners[3][1]  # higher on the page is less
    assert corners[1][1] == last < corners[2][1]
    assert "polygon" not in pages.curves({"loss": [(0, 1), (1, 2)]}, x="step", y="loss")
