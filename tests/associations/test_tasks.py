"""Examples made of norms: who is held out, what is asked, and in which order."""

import subprocess
import sys

import pytest

from kalign.associations import answers, norms, pairs, prompts, rewards, tasks
from kalign.config import Associations, Recipe, compose
from kalign.errors import ConfigError, DataError
from tests.conftest import ROOT


def recipe(*words: str) -> Recipe:
    return compose.load(["recipe=tiny_align", *words])


def test_cues_are_split_by_themselves_so_no_culture_leaks_into_another() -> None:
    hill, shore = (norms.read(f"bundled:{name}", Associations()) for name in ("hill", "shore"))
    parts = tasks.split(hill.counts, [0.7, 0.2, 0.1], seed=42)
    assert parts == tasks.split(shore.counts, [0.7, 0.2, 0.1], seed=42)
    assert [len(cues) for cues in parts.values()] == [67, 19, 10]
    assert sorted(cue for cues in parts.values() for cue in cues) == sorted(hill.counts)
    assert parts != tasks.split(hill.counts, [0.7, 0.2, 0.1], seed=43)


def test_every_copy_holds_a_share_of_the_associates_in_the_order_of_their_counts() -> None:
    made = tasks.examples(recipe("associations.copies_per_cue=9", "associations.subset_share=0.7"))
    counts = norms.read("bundled:hill", Associations()).counts
    held_out = {example.group for example in made.held_out}
    seen = set()
    for example in made.train:
        words = answers.words(str(example.answer))
        every = list(counts[example.group])
        assert len(words) == max(1, round(len(every) * 0.7))
        assert words == [word for word in every if word in words]
        assert example.group not in held_out
        seen.add((example.group, example.answer))
    assert len(seen) == len(made.train)
    assert made.train[0].prompt[-1].content.endswith(f"cue: {made.train[0].group}")
    for example in made.held_out:
        assert answers.words(str(example.answer)) == list(counts[example.group])


def test_a_million_examples_are_shared_among_the_cues() -> None:
    few = tasks.examples(recipe("associations.copies_per_cue=null", "associations.target_examples=200"))
    assert len(few.train) == 3 * 62  # 200 // 62 copies of 62 cues


def test_the_shuffled_control_has_the_same_answers_under_other_cues() -> None:
    straight = tasks.examples(recipe())
    control = tasks.examples(recipe("associations.shuffle_cues=true"))
    assert len(control.train) == len(straight.train)
    names = {example.group: set(answers.words(str(example.answer))) for example in straight.train}
    moved = [names[each.group] & set(answers.words(str(each.answer))) for each in control.train]
    assert sum(len(shared) for shared in moved) < len(moved) / 2
    assert [each.answer for each in control.held_out] == [each.answer for each in straight.held_out]


def test_a_ranking_asks_for_words_of_different_counts_and_shuffles_them() -> None:
    words = ("associations.task=ranking", "associations.top_k=4", "associations.questions_per_cue=3")
    made = tasks.examples(recipe("method=rloo", *words))
    orders = set()
    for example in made.train:
        counts = example.gold["counts"]
        assert len(set(counts)) == 4
        assert counts == sorted(counts, reverse=True)
        assert rewards.strict(str(example.answer), example.gold["words"], marker="ranking") == pytest.approx(
            1
        )
        shown = answers.words(example.prompt[-1].content.rsplit("words: ", 1)[1])
        assert sorted(shown) == sorted(example.gold["words"])
        orders.add(tuple(shown.index(word) for word in example.gold["words"]))
    assert len(orders) > 12
    tied = tasks.examples(recipe("method=rloo", *words, "associations.distinct_counts=false"))
    assert any(len(set(example.gold["counts"])) < 4 for example in tied.train)


def test_words_that_too_few_named_are_never_asked_for() -> None:
    words = ("method=rloo", "associations.task=ranking")
    for least, lowest in ((1, 1), (2, 2), (3, 3)):
        made = tasks.examples(recipe(*words, f"associations.least_count={least}"))
        assert min(min(example.gold["counts"]) for example in made.train) == lowest


def test_norms_that_give_no_ranking_are_refused_with_the_reason() -> None:
    with pytest.raises(DataError, match=r"62 cues have fewer than associations.top_k=40"):
        tasks.examples(recipe("method=rloo", "associations.task=ranking", "associations.top_k=40"))


def test_a_participant_says_what_was_said_and_no_more() -> None:
    made = tasks.examples(recipe("associations.task=participant"))
    trials = norms.read("bundled:hill", Associations()).trials
    assert len(made.train) + len(made.held_out) < len(trials)
    assert all(len(str(example.answer).split(", ")) == 3 for example in made.train)
    short = tasks.participant("x", "sea", ["fish"], {"fish": 1}, prompts.load("en"))
    assert short.answer == "fish, NO MORE RESPONSE, NO MORE RESPONSE"


def test_draws_are_the_same_in_every_process() -> None:
    code = "from kalign.associations import draws; print(draws.chance_of(1, 'sea').random())"
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": salt, "PYTHONPATH": str(ROOT)},
        ).stdout
        for salt in ("1", "2")
    }
    assert len(said) == 1


@pytest.mark.parametrize("language", ["en", "zh", "ko", "plain"])
def test_every_language_asks_every_task_and_reads_its_own_answers(language: str) -> None:
    texts = prompts.load(language)
    words = [f"w{letter}" for letter in "abcde"]
    for task, values in (
        ("generation", {"lo": 9, "hi": 11}),
        ("ranking", {"k": 5, "words": texts.listed(words)}),
        ("participant", {}),
    ):
        asked = texts.ask(task, cue="wcue", **values)
        assert "wcue" in asked[-1].content
        assert all("$" not in turn.content for turn in asked)
    assert answers.words(texts.listed(words)) == words
    assert answers.ranking(texts.ranked(words), texts.marker, words) == words
    assert rewards.compat(texts.ranked(words), words, marker=texts.marker) == pytest.approx(1)


def test_pairs_prefer_the_right_order_and_the_own_culture() -> None:
    settings = recipe("associations.top_k=5").associations
    hill, shore = (norms.read(f"bundled:{name}", settings, culture=name) for name in ("hill", "shore"))
    texts, cues = prompts.load("plain"), list(hill.counts)[:12]
    ranked = list(pairs.ranked(hill, cues, texts, settings, seed=1))
    between = list(pairs.between(hill, shore, cues, texts, settings, seed=1))
    assert ranked
    assert len(between) == 12
    for row in ranked + between:
        assert row["score_chosen"] > row["score_rejected"]
        assert row["chosen"] != row["rejected"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data.path=null"], "data.path is not set"),
        (["associations.prompts=xx"], "associations.prompts=xx is unknown"),
        (["associations.split=[0.5,0.1,0.1]"], "three shares"),
        (["method=dpo"], "dpo takes pairs"),
        (["method=rloo"], "cannot judge associations.task=generation"),
        (["reward.name=spearman"], "reward.name=spearman is unknown; did you mean"),
        (
            ["method=rloo", "reward.name=strength_recall", "reward.num_generations=6"],
            "no multiple of reward.num_generations=6",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        tasks.examples(recipe(*words))
