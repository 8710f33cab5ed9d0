"""Tokenizers are what their tokenizer.json says, whatever class transformers would choose."""

import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from kalign.config import Model
from kalign.errors import DataError
from kalign.models import families, loading, tokenization, twins


def differing(name: str) -> list[str]:
    """The texts that AutoTokenizer cuts otherwise than tokenizer.json says."""
    folder = twins.folder(name)
    raw, _ = tokenization.load(str(folder), revision=None)
    chosen = AutoTokenizer.from_pretrained(folder)
    return [
        text
        for text in tokenization.battery()
        if chosen.encode(text, add_special_tokens=False) != raw.encode(text, add_special_tokens=False).ids
    ]


def test_left_to_itself_transformers_cuts_ax_as_qwen_and_says_nothing() -> None:
    """If this fails, transformers stopped doing it, and the reason for loading without AutoTokenizer went."""
    assert differing("ax")
    assert not differing("qwen")


@pytest.mark.parametrize("name", families.names())
def test_every_family_is_cut_as_its_tokenizer_json_says(name: str) -> None:
    raw, loaded = tokenization.load(str(twins.folder(name)), revision=None)
    tokenization.require_exact(loaded, raw, name)
    for text in tokenization.battery():
        assert loaded.decode(loaded.encode(text, add_special_tokens=False)) == raw.decode(
            raw.encode(text).ids
        )


def test_a_setting_that_changes_tokens_is_refused_with_the_text_and_both_lists(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(twins.folder("ax"), tmp_path / "ax"))
    path = folder / "tokenizer_config.json"
    added = {"900": {"content": "안녕", "special": False}}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"added_tokens_decoder": added}))
    model = Model(repo=str(folder))
    with pytest.raises(DataError, match=r"tokenizer\.json says") as refused:
        loading.load_tokenizer(model, loading.locate(model))
    first = tokenization.battery()[0]
    raw, _ = tokenization.load(str(folder), revision=None)
    assert repr(first) in str(refused.value)
    assert str(raw.encode(first, add_special_tokens=False).ids) in str(refused.value)


def test_a_folder_without_tokenizer_json_is_said(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(twins.folder("ax"), tmp_path / "ax"))
    (folder / "tokenizer.json").unlink()
    model = Model(repo=str(folder))
    with pytest.raises(DataError, match=r"tokenizer\.json"):
        loading.load_tokenizer(model, loading.locate(model))


@pytest.mark.parametrize("ends", ["<|im_end|>", "<|endoftext|>"])
def test_a_pad_token_that_ends_sequences_is_refused(ends: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(twins.folder("qwen"), tmp_path / "qwen"))
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token": ends, "pad_token": ends}))
    model = Model(repo=str(folder))
    with pytest.raises(DataError, match=r"ends sequences too.*model\.pad_token"):
        loading.load_tokenizer(model, loading.locate(model))


def test_the_battery_has_what_families_differ_in() -> None:
    texts = "".join(tokenization.battery())
    for needed in (
        "각",
        "\u1112\u1161\u11ab",
        "ㅋㅋ",
        "\r\n",
        "\t",
        "\u3000",
        "漢",
        "👩\u200d",
        "12345678",
        "'",
    ):
        assert needed in texts
    assert len(set(tokenization.battery())) == len(tokenization.battery()) >= 40
