"""Markers are put into texts and taken off again, without a trace and without chance."""

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from kalign.data import marking
from kalign.data.tags import DIMENSIONS, Tags
from kalign.records import Message, Triplet, text

VALUES = st.dictionaries(
    st.sampled_from(DIMENSIONS), st.lists(st.text(min_size=1), min_size=1, max_size=3), min_size=1
)
COMPLETIONS = st.one_of(
    st.text(),
    st.text().map(lambda rest: f"<culture>none</culture>\n{rest}"),  # what looks like markers itself
    st.text().map(lambda rest: f"<lang>ko</lang>{rest}"),
    st.text().map(lambda rest: f"\n<geo>KR</geo>\n{rest}"),
)


@given(st.text(), COMPLETIONS, VALUES, st.lists(st.sampled_from(DIMENSIONS)))
def test_what_is_put_before_an_answer_is_stripped_without_a_trace(
    prompt: str, completion: str, values: dict[str, list[str]], kept: list[str]
) -> None:
    said = [Message(role="assistant", content=completion)]
    [answer] = marking.before(said, f"{marking.spelled(values)}\n")
    assert marking.strip_markers(answer.content) == completion
    [asked] = marking.behind_prompt([Message(role="user", content=prompt)], marking.spelled(values, kept))
    assert asked.content.startswith(prompt)
    assert marking.read(answer.content) == {
        name: tuple(sorted(value, key=_spelled)) for name, value in values.items()
    }


def _spelled(value: str) -> str:
    return marking.spelled({"lang": [value]})


def test_an_answer_of_a_model_that_knows_no_markers_stays_as_it_is() -> None:
    for said in (
        "<b>bold</b>\nyes",
        "no <lang>ko</lang>\n",
        "<lang>ko</geo>\nyes",
        "<lang>ko</lang> yes",
        "",
    ):
        assert marking.strip_markers(said) == said
    assert marking.strip_markers("<lang>ko</lang>") == ""  # nothing but markers was written


def test_a_text_whose_tags_are_not_known_has_no_markers() -> None:
    assert marking.values(Tags(status="unparsed"), DIMENSIONS) == {}


def test_dropout_leaves_out_as_many_as_it_says() -> None:
    """Bounds are four standard deviations of the binomial distribution around its mean."""
    samples = [
        marking.kept(DIMENSIONS, dataset_dropout=0.5, sample_dropout=0.5, draw=(1, 0, str(n)))
        for n in range(4000)
    ]
    bare = sum(not each for each in samples)
    expected = 4000 * (0.5 + 0.5 * 0.5 ** len(DIMENSIONS))
    assert abs(bare - expected) < 4 * (4000 * 0.25) ** 0.5
    for name in DIMENSIONS:
        assert abs(sum(name in each for each in samples) - 1000) < 4 * (4000 * 0.25 * 0.75) ** 0.5
    every = marking.kept(DIMENSIONS, dataset_dropout=0, sample_dropout=0, draw=(1, 0, "a"))
    assert every == list(DIMENSIONS)
    assert marking.kept(DIMENSIONS, dataset_dropout=1, sample_dropout=0, draw=(1, 0, "a")) == []


def test_another_process_keeps_the_same_markers() -> None:
    code = (
        "from kalign.data import marking, tags; print([marking.kept(tags.DIMENSIONS, dataset_dropout=.5, "
        "sample_dropout=.5, draw=(3, n % 2, 'q%d' % n)) for n in range(50)])"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1] != ""


def test_both_answers_of_a_pair_get_the_same_markers_and_the_prompt_those_that_are_kept() -> None:
    triplet = Triplet(
        id="a",
        prompt=(Message(role="user", content="떡국은 언제 먹나요?"),),
        chosen=(Message(role="assistant", content="설날에 먹습니다."),),
        rejected=(Message(role="assistant", content="몰라요."),),
    )
    values = marking.values(Tags(culture=("general",), lang="ko"), ["culture", "geo", "lang"])
    marked = marking.marked(triplet, values, ["lang"], completion=True)
    assert text(marked.prompt) == "떡국은 언제 먹나요?\n<lang>ko</lang>"
    before = "<culture>general</culture><geo>none</geo><lang>ko</lang>\n"
    assert text(marked.chosen) == f"{before}설날에 먹습니다."
    assert text(marked.rejected) == f"{before}몰라요."
    only = marking.marked(triplet, values, None, completion=False)
    assert (only.chosen, only.rejected) == (triplet.chosen, triplet.rejected)
