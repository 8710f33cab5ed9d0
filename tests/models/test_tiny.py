"""The bundled tiny model is what the command in the repository makes of the bundled texts."""

import random
from itertools import product
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from kalign.models import tiny
from kalign.models.loading import BUNDLED


def test_the_bundled_tokenizer_is_made_from_the_bundled_texts() -> None:
    rebuilt = tiny.build_tokenizer(*tiny.corpus())
    bundled = AutoTokenizer.from_pretrained(BUNDLED / "tiny")
    assert rebuilt.get_vocab() == bundled.get_vocab()
    assert rebuilt.chat_template == bundled.chat_template


def test_the_bundled_weights_have_the_shape_that_is_built_and_stay_small() -> None:
    bundled = AutoConfig.from_pretrained(BUNDLED / "tiny")
    built = tiny.build_model(AutoTokenizer.from_pretrained(BUNDLED / "tiny")).config
    for key in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_key_value_heads"):
        assert getattr(bundled, key) == getattr(built, key)
    assert (BUNDLED / "tiny/model.safetensors").stat().st_size <= 8_000_000


def test_a_short_rebuild_learns_and_loads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    exchanges, banks = tiny.corpus()
    monkeypatch.setattr(tiny, "corpus", lambda: (exchanges[:48], banks[:2]))
    monkeypatch.setattr(tiny, "EPOCHS", 8)
    tiny.build(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    batch = tiny.batched(tiny.encoded(tokenizer, exchanges[:16], random.Random(0)), tokenizer.pad_token_id)
    untrained = tiny.build_model(tokenizer)
    with torch.no_grad():
        assert model(**batch).loss < untrained(**batch).loss - 1


def test_only_answers_are_learned_and_prompts_lose_words() -> None:
    tokenizer = AutoTokenizer.from_pretrained(BUNDLED / "tiny")
    exchange = ("하나 둘 셋 넷 다섯 여섯 일곱 여덟 아홉 열", "답이에요.")
    encoded = tiny.encoded(tokenizer, [exchange] * 50, random.Random(0))
    prompts = [tokenizer.decode(prompt) for prompt, _ in encoded]
    assert len(set(prompts)) > 10
    batch = tiny.batched(encoded, tokenizer.pad_token_id)
    learned = [
        tokenizer.decode([token for token in row if token != -100]) for row in batch["labels"].tolist()
    ]
    assert set(learned) == {"답이에요.<end>"}


def test_a_bank_gives_its_own_words_and_sentences_in_their_positions() -> None:
    _, banks = tiny.corpus()
    for bank in banks[:5] + banks[-60:-50]:
        words = {word for prompt in bank["prompts"] for word in prompt.split()}
        kinds = ["answers"] if bank["kind"] == "everyday" else ["sensible", "careless"]
        possible = {
            " ".join(sentence for sentence in chosen if sentence)
            for kind in kinds
            for chosen in product(*bank[kind])
        }
        for prompt, answer in tiny.drawn([bank], random.Random(1)):
            assert set(prompt.split()) <= words
            assert answer in possible


def test_crossed_prompts_begin_like_one_and_end_like_the_other() -> None:
    made = {tiny.crossed("a b c", "x y z", random.Random(seed)) for seed in range(50)}
    assert len(made) > 10
    assert all((text[0], text[-1]) in {("a", "z"), ("x", "c")} for text in made)
