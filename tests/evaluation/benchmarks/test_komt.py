"""Ko-MT-Bench: two turns on questions of our own, graded by judges behind a real endpoint."""

import json
import math
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kalign.evaluation.benchmarks import komt
from tests.conftest import Result, write
from tests.evaluation.benchmarks.conftest import Declare
from tests.providers.server import Body, Reply, says, serving

Call = Callable[..., Result]
FORM = re.compile(r'^\{"nonce": .*$', re.MULTILINE)
QUESTIONS: list[dict[str, Any]] = [
    {"question_id": 1, "category": "글쓰기", "turns": ["봄을 노래해 줘.", "더 짧게 써 줘."]},
    {
        "question_id": 2,
        "category": "수학",
        "turns": ["3 더하기 4는?", "거기에 2를 곱하면?"],
        "reference": ["7", "14"],
    },
    {"question_id": 3, "category": "글쓰기", "turns": ["JSON으로 답해 줘.", "한 줄로 줄여 줘."]},
]
ANSWERS = {
    "봄을 노래해 줘.": "꽃이 핀다.",
    "더 짧게 써 줘.": "Flowers bloom.",
    "3 더하기 4는?": "7",
    "거기에 2를 곱하면?": "답은 14입니다.",
    "JSON으로 답해 줘.": '{"answer": "yes"}',
    "한 줄로 줄여 줘.": "yes",
}


def answering(body: Body, number: int) -> Reply:
    """The model answers in the light of its first answer, its base is curt; one judge gives 9 where the
    answer is the known one and 4 where not, the other a grade less, and none to the answer about spring."""
    told = body["messages"][0]["content"]
    last = body["messages"][-1]["content"]
    if (form := FORM.search(told)) is None:
        if len(body["messages"]) == 3:
            assert body["messages"][1]["content"] in {*ANSWERS.values(), "몰라요."}
        return says(ANSWERS[last] if body["model"] == "good" else "몰라요.")
    shown = json.loads(last)
    if body["model"] == "strict" and shown["answer"] == "꽃이 핀다.":
        return says("no JSON")
    grade = (9 if shown["answer"] == ANSWERS[shown["question"]] else 4) - (body["model"] == "strict")
    assert ("first_answer" in shown) == ("두 번째" in told)
    assert shown.get("reference") in (None, "7", "14")
    return says(json.dumps(json.loads(form[0]) | {"verdicts": {"grade": grade}, "reason": "-"}))


def test_two_turns_are_graded_and_answers_in_another_language_count_as_their_square_root(
    declared: Declare, kalign_here: Call, tmp_path: Path
) -> None:
    write(tmp_path / "questions.jsonl", QUESTIONS)
    with serving(answering) as server:
        words = [
            "suite=komt",
            f"data={tmp_path / 'questions.jsonl'}",
            f"model=endpoint:{declared(server, 'good')}",
            f"base=endpoint:{declared(server, 'curt')}",
            f"judge={declared(server, 'kind')}",
            "exempt=3",
            f"out={tmp_path / 'out'}",
            "--json",
        ]
        done = kalign_here("eval", *words)
        asked = server.requests
        assert kalign_here("eval", *words).stdout == done.stdout
        assert server.requests == asked == 2 * (6 + 6)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    both, first, second, macro = document["tasks"]
    assert both["base"]["value"] == 4
    assert first["model"]["value"] == 9
    assert second["model"]["value"] == pytest.approx((math.sqrt(9) + 9 + 9) / 3)  # one was in English
    assert both["model"]["value"] == pytest.approx((5 * 9 + 3) / 6)
    assert both["change"]["verdict"] == "kept"
    assert macro["model"]["value"] == pytest.approx(((3 * 9 + 3) / 4 + 9) / 2)
    assert "model: 1 of 6 answers are not in Korean" in done.stderr
    assert "komt, from 1 to 10; 0 shots" in done.stderr
    assert kalign_here("report", str(tmp_path / "out")).returncode == 0
    assert "Ko-MT-Bench: categories" in (tmp_path / "out/report.html").read_text(encoding="utf-8")


def test_judges_that_fail_are_counted_and_too_many_are_refused(
    declared: Declare, kalign_here: Call, tmp_path: Path
) -> None:
    write(tmp_path / "questions.jsonl", QUESTIONS)
    with serving(answering) as server:
        panel = f"{declared(server, 'kind')},{declared(server, 'strict')}"
        words = [f"data={tmp_path / 'questions.jsonl'}", f"model=endpoint:{declared(server, 'good')}"]
        done = kalign_here("eval", "suite=komt", *words, f"judge={panel}", "out=out")
        none = kalign_here("eval", "suite=komt", *words)
    assert (done.returncode, "only 91.7% of the grades of model were given" in done.stderr) == (3, True)
    document = json.loads(Path("out/ability.json").read_text(encoding="utf-8"))
    assert document["tasks"][1]["model"]["value"] == pytest.approx((9 + 8.5 + (3 + math.sqrt(8)) / 2) / 3)
    assert document["agreement"]["raw"] == 0
    assert (none.returncode, "is graded by models" in none.stderr) == (2, True)


@pytest.mark.parametrize(
    ("answer", "korean"),
    [
        ("안녕하세요. 오늘은 날씨가 좋습니다.", True),
        ("This answer is in English.", False),
        ("이 함수는 다음과 같습니다.\n```python\ndef a_long_name(argument): return argument\n```", True),
        ("Use 다음 code instead of what you wrote, please.", False),
        ("42", True),
        ("これは日本語です。", False),
        ("네, Python의 list comprehension을 쓰면 됩니다.", True),
        (unicodedata.normalize("NFD", "안녕하세요"), True),
    ],
)
def test_the_language_of_an_answer_is_told_by_its_letters_outside_code(answer: str, korean: bool) -> None:
    assert komt.in_language(answer) == korean


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question_id": 1, "turns": ["하나"]}, "a list of two prompts"),
        ({"turns": ["하나", "둘"]}, "is none of Ko-MT-Bench's"),
        ({"question_id": 1, "turns": ["하나", "둘"], "reference": ["하나"]}, "no list of two texts"),
    ],
)
def test_what_is_none_of_ko_mt_benchs_is_refused(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    write(tmp_path / "questions.jsonl", [row])
    with pytest.raises(ValueError, match=said):
        komt.read_questions(tmp_path / "questions.jsonl", komt.COLUMNS)
