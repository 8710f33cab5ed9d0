import json
from typing import Any

import pytest

from kalign.config import Columns
from kalign.data.layouts import triplet
from kalign.records import Triplet, UnusableTriplet

USER = {"role": "user", "content": "물어요"}
GOOD = {"role": "assistant", "content": "좋은 답"}
BAD = {"role": "assistant", "content": "나쁜 답"}
SYSTEM = {"role": "system", "content": "친절하게"}
EARLIER = {"role": "assistant", "content": "먼저 한 답"}


def read(row: dict[str, Any], **columns: Any) -> Triplet:
    return triplet(row, Columns(**columns), "id")


def turns(found: Triplet) -> tuple[list[str], list[str], list[str]]:
    return tuple(
        [f"{turn.role}:{turn.content}" for turn in part]
        for part in (found.prompt, found.chosen, found.rejected)
    )  # type: ignore[return-value]


ONE_TURN = (["user:물어요"], ["assistant:좋은 답"], ["assistant:나쁜 답"])

LAYOUTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "text": ({"prompt": "물어요", "chosen": "좋은 답", "rejected": "나쁜 답"}, {}),
    "messages": ({"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]}, {}),
    "text prompt, answers as messages": ({"prompt": "물어요", "chosen": [GOOD], "rejected": [BAD]}, {}),
    "text prompt, repeated in the answers": (
        {"prompt": "물어요", "chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {},
    ),
    "implicit messages": ({"chosen": [USER, GOOD], "rejected": [USER, BAD]}, {"prompt": None}),
    "implicit text": ({"chosen": "물어요 좋은 답", "rejected": "물어요 나쁜 답"}, {"prompt": None}),
    "other names": (
        {"q": "물어요", "a": "좋은 답", "b": "나쁜 답"},
        {"prompt": "q", "chosen": "a", "rejected": "b"},
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_trl_is_read_as_the_same_triplet(layout: str) -> None:
    row, columns = LAYOUTS[layout]
    assert turns(read(row, **columns)) == ONE_TURN


ONE_ANSWER: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "text": ({"prompt": "물어요", "answer": "좋은 답"}, {"chosen": "answer"}),
    "messages": ({"messages": [USER, GOOD]}, {"prompt": None, "chosen": "messages"}),
    "prompt and answer as messages": ({"prompt": [USER], "chosen": [GOOD]}, {}),
    "prompt, repeated in the answer": ({"prompt": "물어요", "chosen": [USER, GOOD]}, {}),
}


@pytest.mark.parametrize("layout", ONE_ANSWER)
def test_rows_with_one_answer_are_read_without_a_worse_one(layout: str) -> None:
    row, columns = ONE_ANSWER[layout]
    assert turns(read(row, **columns, rejected=None)) == (["user:물어요"], ["assistant:좋은 답"], [])


def test_one_answer_that_hides_its_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match=r"nothing says where its prompt ends; .*data.columns.prompt=NAME"):
        read({"chosen": "물어요 좋은 답"}, prompt=None, rejected=None)
    with pytest.raises(ValueError, match="chosen begins with other turns than prompt"):
        read({"prompt": "딴말", "chosen": [USER, GOOD]}, rejected=None)
    with pytest.raises(UnusableTriplet, match="chosen is empty"):
        read({"prompt": "물어요", "chosen": " "}, rejected=None)


@pytest.mark.parametrize("layout", ["implicit messages", "implicit text"])
def test_implicit_prompts_are_found_where_trl_finds_them(layout: str) -> None:
    from trl.data_utils import extract_prompt

    row, columns = LAYOUTS[layout]
    theirs = extract_prompt(row)
    ours = turns(read(row, **columns))
    for part, name in zip(ours, ("prompt", "chosen", "rejected"), strict=True):
        said = theirs[name]
        words = (
            [f"{turn['role']}:{turn['content']}" for turn in said]
            if isinstance(said, list)
            else [said.strip()]
        )
        assert [part_turn.split(":", 1)[-1] for part_turn in part] == [
            word.split(":", 1)[-1] for word in words
        ]


def test_system_turns_and_earlier_turns_belong_to_the_prompt() -> None:
    prompt = [SYSTEM, USER, EARLIER, USER]
    expected = ["system:친절하게", "user:물어요", "assistant:먼저 한 답", "user:물어요"]
    assert turns(read({"prompt": prompt, "chosen": [GOOD], "rejected": [BAD]}))[0] == expected
    implicit = {"chosen": [*prompt, GOOD], "rejected": [*prompt, BAD]}
    assert turns(read(implicit, prompt=None))[0] == expected


def test_conversations_that_part_early_are_scored_from_where_they_part() -> None:
    row = {"chosen": [USER, GOOD, USER, GOOD], "rejected": [USER, BAD, USER, BAD]}
    prompt, chosen, rejected = turns(read(row, prompt=None))
    assert (prompt, len(chosen), len(rejected)) == (["user:물어요"], 3, 3)


MALFORMED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "misnamed prompt": ({"question": "q", "chosen": "a", "rejected": "b"}, {}, "data.columns.prompt=NAME"),
    "misnamed chosen": ({"prompt": "q", "good": "a", "rejected": "b"}, {}, "data.columns.chosen=NAME"),
    "number": ({"prompt": "q", "chosen": 1, "rejected": "b"}, {}, "chosen is int"),
    "null": ({"prompt": "q", "chosen": None, "rejected": "b"}, {}, "chosen is NoneType"),
    "mixed": ({"prompt": "q", "chosen": [GOOD], "rejected": "b"}, {}, "both be text"),
    "no role": ({"prompt": "q", "chosen": [{"content": "a"}], "rejected": [BAD]}, {}, "a turn is"),
    "unknown role": (
        {"prompt": "q", "chosen": [{"role": "tool", "content": "a"}], "rejected": [BAD]},
        {},
        "'tool'",
    ),
    "ends with the user": (
        {"prompt": [USER, GOOD], "chosen": [GOOD], "rejected": [BAD]},
        {},
        "prompt must end",
    ),
    "answers nothing": ({"prompt": "q", "chosen": [], "rejected": [BAD]}, {}, "end with an assistant"),
    "other beginning": (
        {"prompt": "q", "chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {},
        "other turns than",
    ),
    "nothing shared": ({"chosen": "가 나", "rejected": "다 라"}, {"prompt": None}, "share no words"),
    "messages as text": (
        {"prompt": "q", "chosen": str([USER, GOOD]), "rejected": json.dumps([USER, BAD], indent=1)},
        {},
        "written as text",
    ),
    "no turn shared": ({"chosen": [GOOD], "rejected": [BAD]}, {"prompt": None}, "share no turn"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_row_says_what_is_wrong_with_it(case: str) -> None:
    row, columns, said = MALFORMED[case]
    with pytest.raises(ValueError, match=".") as refused:
        read(row, **columns)
    assert not isinstance(refused.value, UnusableTriplet)
    assert said in str(refused.value)


UNUSABLE = {
    "empty_prompt": {"prompt": " ", "chosen": "a", "rejected": "b"},
    "empty_chosen": {"prompt": "q", "chosen": "\n", "rejected": "b"},
    "empty_rejected": {"prompt": "q", "chosen": "a", "rejected": ""},
    "identical": {"prompt": "q", "chosen": "a", "rejected": " a "},
}


@pytest.mark.parametrize("reason", UNUSABLE)
def test_a_row_that_teaches_nothing_is_named_by_its_reason(reason: str) -> None:
    with pytest.raises(UnusableTriplet) as refused:
        read(UNUSABLE[reason])
    assert refused.value.reason == reason
