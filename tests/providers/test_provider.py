"""Providers' settings: read by name or path, refused where they are wrong, and never holding a key."""

import ast
import dataclasses
import re
from pathlib import Path

import pytest

from kalign.errors import ConfigError
from kalign.providers import Provider, Sampling, load, load_all, shipped
from tests.conftest import ROOT

SECRET = "sk-" + "a1B2" * 8


def written(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_provider_loads_and_states_every_setting_and_a_command(name: str) -> None:
    text = shipped()[name].read_text(encoding="utf-8")
    assert load(name).name == name
    assert text.startswith("# kalign synth ")
    stated = set(re.findall(r"^(\w+):", text, re.MULTILINE))
    assert stated == {field.name for field in dataclasses.fields(Provider)} - {"name"}


def test_every_setting_of_a_provider_is_read() -> None:
    read = {
        node.attr
        for path in (ROOT / "kalign/providers").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
    }
    settings = {field.name for block in (Provider, Sampling) for field in dataclasses.fields(block)}
    assert settings <= read


def test_a_file_of_the_users_own_is_a_provider_named_by_it(tmp_path: Path) -> None:
    path = written(tmp_path, "base_url: https://gateway.example/v1\nmodel: acme/large\n")
    assert load(path) == Provider(name="mine", base_url="https://gateway.example/v1", model="acme/large")
    assert load(f"{path}:acme/small").model == "acme/small"
    assert load(path).kin == "acme"


def test_another_model_has_no_price_and_keeps_the_licence_of_its_vendor_only() -> None:
    other = load("openai:gpt-5")
    assert (other.model, other.price_in, other.licence) == ("gpt-5", None, load("openai").licence)
    assert load("vllm:acme/large").licence.name is None
    assert load("vllm:acme/large").price_in == 0


def test_several_providers_are_named_as_a_list_or_with_commas() -> None:
    names = ["openai", "anthropic"]
    assert load_all("[openai, anthropic]") == load_all("openai,anthropic") == load_all(names)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("base_url: https://x.example/v1\nmodel: m\nmax_concurency: 3\n", "max_concurency"),
        ("base_url: https://x.example/v1\nmodel: m\ntimeout: soon\n", "timeout"),
        ("base_url: https://x.example/v1\nmodel: m\ntimeout: 0\n", "timeout=0"),
        ("base_url: ftp://x.example\nmodel: m\n", "base_url=ftp"),
        ("base_url: https://me:pw@x.example/v1\nmodel: m\n", "base_url is no address"),
        ("base_url: https://x.example:99999/v1\nmodel: m\n", "base_url=https"),
        ("base_url: https://[::1/v1\nmodel: m\n", "base_url=https"),
        ("base_url: https://x..example/v1\nmodel: m\n", "base_url=https"),
        ("base_url: https://x.example/v1?key=pw\nmodel: m\n", "base_url is no address"),
        ("base_url: https://x.example/v1\nmodel: m\nkey_env: 'not a name'\n", "key_env"),
        ("base_url: https://x.example/v1\nmodel: m\nprice_in: 1\n", "one price of two"),
        ("base_url: https://x.example/v1\nmodel: m\nstructured: xml\n", "structured=xml"),
        ("base_url: https://x.example/v1/${oc.env:HOME}\nmodel: m\n", "never fills in"),
        ("base_url: https://x.example/v1\nmodel: m\nextra: {_target_: os.system}\n", "call code"),
        ("base_url: https://x.example/v1\nmodel: m\nextra: {max_tokens: 9}\n", "extra.max_tokens is said"),
        ("base_url: https://x.example/v1\nmodel: m\nextra: {stream: true}\n", "extra.stream is said"),
        ("model: m\n", "base_url is missing"),
        ("base_url: https://x.example/v1\n", "model"),
    ],
)
def test_what_a_file_says_wrong_is_refused_in_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)) as wrong:
        load(written(tmp_path, text))
    assert "pw" not in str(wrong.value)


def test_a_key_in_a_file_or_a_word_is_refused_and_not_repeated(tmp_path: Path) -> None:
    path = written(tmp_path, f"base_url: https://x.example/v1\nmodel: m\nkey_env: {SECRET}\n")
    for choice in (path, f"openai:{SECRET}"):
        with pytest.raises(ConfigError) as wrong:
            load(choice)
        assert SECRET not in str(wrong.value)


def test_an_unknown_provider_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="did you mean openai"):
        load("opnai")
    with pytest.raises(ConfigError, match="twice"):
        load_all("openai,openai")
    with pytest.raises(ConfigError, match="empty"):
        load_all("[]")


def test_a_key_that_is_not_set_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="export OPENAI_API_KEY"):
        load("openai").key()
