"""Supervised fine-tuning on any source of pairs or answers, with markers and without, as a user starts it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kalign import files
from kalign.config import Recipe, compose
from kalign.data import marking
from kalign.data.examples import Examples
from kalign.errors import ConfigError
from kalign.models import loading, promises
from kalign.training import looks, taught, written
from tests.conftest import Result, pair, write
from tests.training.arms import ARMS, tag, trained

pytestmark = pytest.mark.usefixtures("one_thread")

Kalign = Callable[..., Result]
DIMENSIONS = {"culture", "domain", "task", "geo", "lang"}


@pytest.fixture
def study(short: list[str], pairs_file: Path, kalign_here: Kalign) -> list[str]:
    """The words of a study on forty pairs, ten of them on a holiday, and their tags."""
    tag(kalign_here, pairs_file)
    return ["recipe=markers_sft", *short[1:], "trainer.max_steps=2", "trainer.save_steps=2", "data.tags=tags"]


def test_three_arms_of_supervised_training_take_equal_steps_and_tell_both_token_counts(
    kalign_here: Kalign, study: list[str]
) -> None:
    by_arm, said = trained(kalign_here, study)
    plain, marked, more = (by_arm[arm] for arm in ARMS)
    assert plain["tokens_without_markers"] == plain["tokens_with_markers"] == marked["tokens_without_markers"]
    assert marked["tokens_with_markers"] > marked["tokens_without_markers"]
    assert more["cultural_share"] == pytest.approx(0.5)
    assert all(each["nats_a_token"]["low"] <= each["nats_a_token"]["value"] for each in by_arm.values())
    assert marked["markers"]["answers"] == 4  # every held-out prompt, whatever evaluation.generations says
    assert set(marked["markers"]["accuracy"]) == DIMENSIONS
    assert marked["markers"]["exact"]["value"] == 0  # two steps teach nobody to write markers
    assert "markers that the model wrote itself" in said
    ledger = [row for _, row in files.read_parquet(next(Path("runs").glob("markers_sft-*/ledger.parquet")))]
    assert len(ledger) == 40
    assert all(row["rejected_tokens"] is None for row in ledger)


def examples(study: list[str], *words: str) -> tuple[Recipe, Examples]:
    recipe = compose.load([*study, *words])
    return recipe, taught.examples(recipe)


def test_what_is_learned_is_the_chosen_answer_behind_its_markers(study: list[str]) -> None:
    recipe, read = examples(study, "data.markers.arm=markers")
    chat = promises.load_chat(recipe.model, loading.locate(recipe.model))
    own = {row["prompt"]: row["chosen"] for row in rows(study)}
    bare = 0
    for example in read.train:
        assert example.pair is not None
        assert example.answer is not None
        said = chat.tokenizer.decode(example.pair.chosen_ids)
        assert said == example.answer + chat.turn_end
        assert set(marking.read(example.answer)) == DIMENSIONS
        asked = example.prompt[-1].content
        bare += asked in own
        plain = re.sub(r"\n(<\w+>[^<>]*</\w+>)+$", "", asked)
        assert marking.strip_markers(example.answer) == own[plain]
        assert example.pair.rejected_ids == []
    assert 0.25 < bare / len(read.train) < 0.8
    assert all(example.prompt[-1].content in own for example in read.held_out)


def test_a_right_answer_is_scored_behind_the_markers_that_the_model_wrote(study: list[str]) -> None:
    recipe, read = examples(study)
    chat = promises.load_chat(recipe.model, loading.locate(recipe.model))
    example = read.held_out[0]
    assert example.pair is not None
    assert looks._row(example, chat, "") == (example.pair.prompt_ids, example.pair.chosen_ids)
    for own in ("<lang>ko</lang>\n", "<lang>ko</lang>"):
        before, answer = looks._row(example, chat, own)
        whole = chat.tokenizer.decode(before + answer)
        shown = chat.render(example.prompt, add_generation_prompt=True)
        assert whole == f"{shown}<lang>ko</lang>\n{example.answer}{chat.turn_end}"
        assert chat.tokenizer.decode(before).startswith(f"{shown}<lang>ko</lang>")
        assert example.answer is not None
        assert example.answer.strip() in chat.tokenizer.decode(answer)


def rows(study: list[str]) -> list[dict[str, Any]]:
    path = next(word.split("=", 1)[1] for word in study if word.startswith("data.path="))
    return [row for _, row in files.read_jsonl(Path(path))]


def test_a_file_of_conversations_without_worse_answers_is_learned(
    short: list[str], pairs_file: Path, kalign_here: Kalign
) -> None:
    chats = [
        {
            "messages": [
                {"role": "user", "content": row["prompt"]},
                {"role": "assistant", "content": row["chosen"]},
            ]
        }
        for row in map(pair, range(20))
    ]
    write(pairs_file, chats)
    words = [*short, "data.columns={prompt:null,chosen:messages,rejected:null}", "trainer.max_steps=1"]
    refused = kalign_here("train", *words)
    assert refused.returncode == 2
    assert "needs a worse answer beside each one" in refused.stderr
    done = kalign_here("train", *words, "method=sft", "sft.loraplus_lr_ratio=null")
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(next(Path("runs").glob("*/result.json")).read_text(encoding="utf-8"))
    assert (result["method"], result["markers"]) == ("sft", None)
    assert result["held_out"]["nats_a_token"]["before"]["value"] > 1
    assert result["answers"][0]["group"] in {row["messages"][0]["content"] for row in chats}
    again = kalign_here("train", *words, "method=sft", "sft.loraplus_lr_ratio=null")
    assert "is finished; nothing was changed" in again.stdout


def test_predicted_markers_are_scored_whole_and_value_by_value() -> None:
    """Of four texts, `geo` is right in two and `lang` in three; both are right in two."""
    own = [{"geo": ("KR",), "lang": ("ko",)}, {"geo": ("KR", "JP"), "lang": ("ko",)}] * 2 + [{}]
    wrote = [{"geo": ("KR",), "lang": ("ko",)}, {"geo": ("KR",), "lang": ("ko",)}] * 2 + [{}]
    wrote[3] = {}
    told = written.predicted(own, wrote)
    assert told["exact"]["value"] == 0.5
    assert {name: share["value"] for name, share in told["accuracy"].items()} == {"geo": 0.5, "lang": 0.75}
    # KR: 3 hits, 4 and 3 named, F1 6/7; JP: none found, 0; ko: 3 hits of 4 and 3, 6/7
    assert told["macro_f1"]["geo"]["value"] == pytest.approx((6 / 7 + 0) / 2)
    assert told["macro_f1"]["lang"]["value"] == pytest.approx(6 / 7)
    assert written.predicted([{}], [{}]) == {"exact": None, "accuracy": {}, "macro_f1": {}}


def test_methods_say_what_they_can_learn_from(study: list[str]) -> None:
    with pytest.raises(ConfigError, match="method=rloo cannot learn from data.format=preference"):
        compose.load([*study, "method=rloo"])
