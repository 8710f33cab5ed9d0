"""`kalign grounding check`: a result for every row, in order, and exit code 3 where one is not ok."""

import json
from collections.abc import Callable
from pathlib import Path

from kalign import packs
from tests.conftest import Result, write

Kalign = Callable[..., Result]
DAY = "as_of=2026-11-22"


def test_every_row_gets_its_result_in_order(kalign_here: Kalign) -> None:
    texts = ["형법 제307조를 보세요.", "형법 제999조를 보세요.", "오늘은 날이 맑네요.", "1393에 전화하세요."]
    write(Path("answers.jsonl"), [{"id": f"r{n}", "text": text} for n, text in enumerate(texts)])
    done = kalign_here("grounding", "check", "answers.jsonl", DAY, "--json")
    assert done.returncode == 3
    rows = json.loads(done.stdout)["rows"]
    assert [(row["id"], row["ok"]) for row in rows] == [
        ("r0", True),
        ("r1", False),
        ("r2", True),
        ("r3", False),
    ]
    assert rows[1]["citations"][0]["status"] == "no_such_article"
    shown = kalign_here("grounding", "check", "answers.jsonl", DAY)
    assert "형법 제999조" in shown.stdout
    assert "4 rows, 3 citations" in shown.stdout
    assert "2 rows are not ok" in shown.stdout


def test_the_bundled_good_answers_are_clean(kalign: Kalign) -> None:
    done = kalign("grounding", "check", str(packs.pairs("ko")), "field=chosen", DAY)
    assert done.returncode == 0, done.stdout
    assert "0 rows are not ok" in done.stdout


def test_wrong_words_are_refused_in_one_sentence(kalign_here: Kalign) -> None:
    write(Path("answers.jsonl"), [{"text": "가"}])
    cases = {
        ("answers.jsonl", "field=body"): (3, "give field=NAME"),
        ("answers.jsonl", "feild=text"): (2, "did you mean field?"),
        ("answers.jsonl", "as_of=yesterday"): (2, "write it as YYYY-MM-DD"),
        ("none.jsonl",): (3, "does not exist"),
        (): (2, "FILE.jsonl is missing"),
        ("answers.jsonl", "statutes=nowhere"): (3, "laws.csv does not exist"),
    }
    for words, (code, said) in cases.items():
        refused = kalign_here("grounding", "check", *words)
        assert (refused.returncode, said in refused.stderr) == (code, True), (words, refused.stderr)


def test_a_full_table_can_stand_in_for_the_packs_own(kalign_here: Kalign) -> None:
    write(Path("answers.jsonl"), [{"text": "형법 제1조"}])
    own = packs.folder("ko") / "statutes"
    done = kalign_here("grounding", "check", "answers.jsonl", f"statutes={own}", DAY)
    assert done.returncode == 0
