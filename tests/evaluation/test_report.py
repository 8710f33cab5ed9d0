"""The page of an evaluation and of a run: complete by itself, every citation marked, fit for a phone."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kalign import pages
from kalign.evaluation.report import answers
from kalign.pages import Section
from tests.conftest import Result
from tests.evaluation.conftest import Trained

Evaluated = Callable[[str], Path]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
WIDTH_OF = """<!doctype html>
<iframe id="page" src="report.html" style="width:{width}px;height:800px;border:0"></iframe>
<script>page.onload = () => {{ document.body.append("wide=" +
page.contentDocument.documentElement.scrollWidth); }}</script>"""


@pytest.fixture
def page(trained: Trained, evaluated: Evaluated, kalign_here: Callable[..., Result]) -> Path:
    done = kalign_here("report", str(evaluated("refusing")), str(trained.refusing))
    assert done.returncode == 0
    path = Path(done.stdout.strip())
    assert path == evaluated("refusing") / "report.html"
    return path


def test_the_page_of_an_evaluation_and_its_run_holds_what_both_found(page: Path) -> None:
    written = page.read_text(encoding="utf-8")
    titles = ("Verdict", "By category", "Citations", "Answers", "Ledger", "Training curves")
    for title in (*titles, "Cost of the evaluation", "Cost of the training"):
        assert f"<h2>{title}</h2>" in written
    assert "better: the safe rate changed by" in written
    assert 'class="good" title="verified">182 ✓' in written
    assert written.count("<details>") == 2 * 12
    assert not re.search(r"<script|(src|href)\s*=\s*[\"']?(https?:)?//|url\(", written)


def test_a_citation_is_marked_where_it_stands_and_an_answer_stays_text() -> None:
    cited = [
        {"text": "형법 제307조", "status": "verified", "exists": True},
        {"text": "형법 제999조", "status": "no_such_article", "exists": False},
        {"text": "112", "status": "unchecked", "exists": None},
        {"text": "NFC로 적은 것", "status": "verified", "exists": True},
    ]
    shown = answers.marked("<b>형법 제307조와 형법 제999조, 112", cited)
    assert "&lt;b&gt;" in shown
    assert '<span class="good" title="verified">형법 제307조 ✓</span>와' in shown
    assert '<span class="bad" title="no such article">형법 제999조 ✗</span>' in shown
    assert "112 ?" in shown
    assert shown.endswith("NFC로 적은 것 ✓</span>")


def test_a_folder_that_kalign_did_not_write_has_no_page(
    tmp_path: Path, kalign_here: Callable[..., Result]
) -> None:
    done = kalign_here("report", str(tmp_path))
    assert done.returncode == 2
    assert "is no run, no evaluation" in done.stderr


def test_a_comparison_has_a_page_of_its_own(
    evaluated: Evaluated, kalign_here: Callable[..., Result], tmp_path: Path
) -> None:
    pair = [str(evaluated("unchanged")), str(evaluated("refusing"))]
    assert kalign_here("eval", "compare", *pair, f"out={tmp_path}").returncode == 0
    assert kalign_here("report", str(tmp_path)).returncode == 0
    assert "better: the safe rate" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here to draw the page")
def test_an_answer_without_a_blank_leaves_room_for_the_other_and_a_short_one_for_its_note(
    tmp_path: Path,
) -> None:
    """A model that repeats itself writes words of thousands of letters."""
    cells = ["가" * 3000, "http://" + "a.b/" * 900, answers.marked("네", [], "refusal: none")]
    made = pages.page("A", [Section(title="B", parts=[pages.table(["prompt", "base", "model"], [cells])])])
    (tmp_path / "report.html").write_text(made, encoding="utf-8")
    measured = """<iframe id="page" src="report.html" style="width:1200px;height:800px;border:0"></iframe>
<script>page.onload = () => { const drawn = page.contentDocument;
const top = one => one.getBoundingClientRect().top, note = drawn.querySelector(".note");
document.body.append("table=" + Math.round(drawn.querySelector("table").getBoundingClientRect().width) +
" below=" + (top(note) > top(note.parentElement) + 20)); }</script>"""
    (tmp_path / "frame.html").write_text(f"<!doctype html>\n{measured}", encoding="utf-8")
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    shell = [str(CHROMIUM), *words, "--virtual-time-budget=4000", "--dump-dom"]
    address = (tmp_path / "frame.html").as_uri()
    dumped = subprocess.run([*shell, address], capture_output=True, text=True, timeout=120).stdout
    found = re.search(r"table=(\d+) below=(\w+)", dumped)
    assert found, dumped[-500:]
    assert int(found[1]) <= 1200
    assert found[2] == "true"


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here to draw the page")
def test_a_browser_draws_the_page_on_a_phone_without_scrolling_aside_and_prints_it(page: Path) -> None:
    shell = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    for width in (360, 1200):
        frame = page.with_name("frame.html")
        frame.write_text(WIDTH_OF.format(width=width), encoding="utf-8")
        dumped = subprocess.run(
            [*shell, "--virtual-time-budget=4000", "--dump-dom", frame.as_uri()],
            capture_output=True,
            text=True,
            timeout=120,
        ).stdout
        found = re.search(r"wide=(\d+)", dumped)
        assert found, dumped[-500:]
        assert int(found[1]) <= width
    pdf = page.with_name("page.pdf")
    subprocess.run(
        [*shell, f"--print-to-pdf={pdf}", page.as_uri()], capture_output=True, check=True, timeout=120
    )
    assert pdf.read_bytes().startswith(b"%PDF")
