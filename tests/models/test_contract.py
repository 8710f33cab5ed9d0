"""`kalign doctor`: clean on every twin, and each planted fault is found under its own code."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kalign.config import Model, compose
from kalign.models import chat, contract, families, loading, twins
from kalign.models.contract import CHECKS
from kalign.models.conversations import battery
from tests.conftest import Result

Kalign = Callable[..., Result]


def model_of(name: str) -> Model:
    return compose.load(["recipe=tiny", f"model={name}"]).model


def settings(folder: Path, name: str, **changes: Any) -> None:
    """Change some keys of a JSON file."""
    path = folder / name
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def replaced(folder: Path, old: str, new: str) -> None:
    """Change the template, which must hold `old`."""
    path = folder / "chat_template.jinja"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def around_content(folder: Path, filters: str) -> None:
    replaced(folder, "message['content']", f"(message['content'] {filters})")


def in_front(folder: Path, text: str) -> None:
    path = folder / "chat_template.jinja"
    path.write_text(text + path.read_text(encoding="utf-8"), encoding="utf-8")


def two_beginnings(folder: Path, model: Model) -> None:
    in_front(folder, "{{ bos_token }}")


def no_beginning(folder: Path, model: Model) -> None:
    replaced(folder, "bos_token + ", "")


def no_turn_end(folder: Path, model: Model) -> None:
    replaced(folder, "{{ '[|endofturn|]\\n' }}", "{{ '\\n' }}")


def pad_that_ends_turns(folder: Path, model: Model) -> None:
    model.pad_token = None
    settings(folder, "tokenizer_config.json", pad_token="<|im_end|>")


def pad_that_is_no_token(folder: Path, model: Model) -> None:
    model.pad_token = "<|nothing|>"


def pad_that_the_template_writes(folder: Path, model: Model) -> None:
    model.pad_token = "<|im_start|>"


def word_begun_by_the_prompt(folder: Path, model: Model) -> None:
    """The generation prompt ends inside a word, which the tokenizer joins with the answer."""
    located = loading.locate(model)
    tokenizer = loading.load_tokenizer(model, located)
    firsts = {conversation.turns[-1].content[:1] for conversation in battery()}
    word = next(
        word
        for word in (tokenizer.decode([id]) for id in range(len(tokenizer)))
        if len(word) == 2 and word.isalpha() and word[1] in firsts and len(tokenizer.tokenize(word)) == 1
    )
    replaced(folder, "<|assistant|>", f"<|assistant|>{word[0]}")
    begun = f"(('{word[0]}' if message['role'] == 'assistant' else '') + message['content'])"
    replaced(folder, "message['content']", begun)
    model.generation_prompt = None


def control_through_entities(folder: Path, model: Model) -> None:
    around_content(folder, "| replace('&lt;', '<') | replace('&gt;', '>')")


def control_through_normalisation(folder: Path, model: Model) -> None:
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    for token in content["added_tokens"]:
        token["normalized"] = True
    path.write_text(json.dumps(content | {"normalizer": {"type": "NFKC"}}), encoding="utf-8")


def another_template(folder: Path, model: Model) -> None:
    model.template_sha256 = contract.examine(model, loading.locate(model)).template_sha256
    in_front(folder, "{# since yesterday #}")


def prompt_that_changes(folder: Path, model: Model) -> None:
    in_front(folder, "{% if messages[-1]['role'] == 'assistant' %}.{% endif %}")


def system_of_its_own(folder: Path, model: Model) -> None:
    in_front(folder, "{% if messages[0]['role'] != 'system' %}<|im_start|>몰래<|im_end|>{% endif %}")


def system_lost(folder: Path, model: Model) -> None:
    in_front(
        folder,
        "{% if messages[0]['role'] == 'system' %}{% set messages = messages[1:] %}{% endif %}",
    )


def stop_at_another_token(folder: Path, model: Model) -> None:
    settings(folder, "generation_config.json", eos_token_id=[0])


def date_of_today(folder: Path, model: Model) -> None:
    replaced(folder, "date_string = '26 Jul 2024'", "date_string = strftime_now('%d %b %Y')")
    model.template_kwargs = {}


def trimming(folder: Path, model: Model) -> None:
    around_content(folder, "| trim")


def letters_changed(folder: Path, model: Model) -> None:
    around_content(folder, "| replace('1', '①')")


def a_token_that_was_not_learned(folder: Path, model: Model) -> None:
    added = {"900": {"content": "안녕", "special": False}}
    settings(folder, "tokenizer_config.json", added_tokens_decoder=added)


def endless(folder: Path, model: Model) -> None:
    in_front(folder, "{% for a in range(99999) %}" * 3 + "{% endfor %}" * 3)


def no_jinja(folder: Path, model: Model) -> None:
    in_front(folder, "{% for")


def nothing(folder: Path, model: Model) -> None:
    (folder / "chat_template.jinja").unlink()


def one_turn_only(folder: Path, model: Model) -> None:
    in_front(folder, "{% if messages | length > 4 %}{{ raise_exception('too long') }}{% endif %}")


def another_opening(folder: Path, model: Model) -> None:
    model.generation_prompt = "<|assistant|>"


FAULTS: dict[str, tuple[str, Callable[[Path, Model], None], str]] = {
    "double_bos": ("gemma", two_beginnings, "2 times"),
    "missing_bos": ("llama", no_beginning, "0 times"),
    "missing_turn_end": ("exaone", no_turn_end, "would never learn to stop"),
    "wrong_pad": ("ax", pad_that_ends_turns, "<|im_end|>"),
    "wrong_pad, unknown": ("qwen", pad_that_is_no_token, "is no token of"),
    "wrong_pad, written": ("ax", pad_that_the_template_writes, "would be masked"),
    "boundary_merge": ("ax", word_begun_by_the_prompt, "merges the end of the prompt"),
    "injected_control": ("ax", control_through_entities, "<|im_end|>"),
    "injected_control, normalised": ("ax", control_through_normalisation, "<|im_end|>"),
    "changed_template": ("kanana", another_template, "look at what changed"),
    "prompt_not_prefix": ("ax", prompt_that_changes, "differently once it is answered"),
    "undeclared_system": ("ax", system_of_its_own, "몰래"),
    "system_policy": ("ax", system_lost, "is lost"),
    "turn_end_not_stop_token": ("qwen", stop_at_another_token, "never stops"),
    "clock_in_template": ("llama", date_of_today, "today's date"),
    "trims_content": ("exaone", trimming, "trims"),
    "text_changed": ("ax", letters_changed, "20240315"),
    "tokenizer_differs": ("ax", a_token_that_was_not_learned, "tokenizer.json says"),
    "template_too_slow": ("ax", endless, "loop for ever"),
    "template_syntax": ("ax", no_jinja, "no Jinja"),
    "no_template": ("ax", nothing, "has no chat template"),
    "template_refuses": ("ax", one_turn_only, "too long"),
    "generation_prompt": ("ax", another_opening, "opens an answer with"),
}


def planted(name: str, folder: Path, fault: Callable[[Path, Model], None] | None) -> Model:
    """A copy of a twin with a fault in it."""
    shutil.copytree(twins.folder(name), folder)
    model = model_of(name)
    model.repo = str(folder)
    if fault is not None:
        fault(folder, model)
    return model


def test_every_check_has_a_planted_fault() -> None:
    assert {name.partition(",")[0] for name in FAULTS} == set(CHECKS)


def test_the_battery_is_large_and_holds_what_breaks_templates() -> None:
    conversations = battery()
    assert len(conversations) >= 40
    assert len({conversation.id for conversation in conversations}) == len(conversations)
    texts = "".join(turn.content for conversation in conversations for turn in conversation.turns)
    assert all(letter in texts for letter in "\u1112\u2028\u200b\u202b\r\t👨")  # NFD as it is written, too
    assert any(turn.content == "" for conversation in conversations for turn in conversation.turns)


@pytest.mark.parametrize("name", [name for name in families.names() if "_" not in name])
def test_the_contract_of_every_twin_holds(name: str) -> None:
    model = model_of(name)
    model.twin = True
    diagnosis = contract.examine(model, loading.locate(model))
    assert diagnosis.findings == []
    unchecked = set(CHECKS) - set(diagnosis.checked)
    assert unchecked == {"changed_template"}  # nothing is pinned
    assert set(diagnosis.dropped) <= {"template_refuses"}


@pytest.mark.parametrize("case", FAULTS)
def test_a_planted_fault_is_found_under_its_own_code(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, fault, said = FAULTS[case]
    model = planted(name, tmp_path / "twin", fault)
    monkeypatch.setattr(chat, "RENDER_SECONDS", 0.5)
    diagnosis = contract.examine(model, loading.locate(model))
    found = [finding for finding in diagnosis.findings if finding.code == case.partition(",")[0]]
    assert found, diagnosis.findings
    assert said in found[0].sentence


@pytest.mark.parametrize("case", ["changed_template", "turn_end_not_stop_token", "undeclared_system"])
def test_a_fault_raises_no_other_alarm(case: str, tmp_path: Path) -> None:
    name, fault, _ = FAULTS[case]
    model = planted(name, tmp_path / "twin", fault)
    diagnosis = contract.examine(model, loading.locate(model))
    assert {finding.code for finding in diagnosis.findings} == {case}


def test_the_sample_shows_what_is_trained_token_by_token() -> None:
    model = model_of("tiny")
    sample = contract.examine(model, loading.locate(model)).sample
    trained = [token["trained"] for token in sample]
    assert trained == sorted(trained)  # first all that is read, then all that is trained
    assert sample[-1]["text"] == "<end>" and sample[-1]["trained"]
    assert sample[trained.index(True) - 1]["text"] == "<assistant>"


def test_the_command_writes_a_file_and_ends_with_code_3_where_the_contract_is_broken(
    kalign_here: Kalign, tmp_path: Path
) -> None:
    done = kalign_here("doctor", "recipe=exaone", "model.twin=true", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(Path("doctor.json").read_text(encoding="utf-8"))
    assert "The contract holds" in done.stderr
    broken = kalign_here(
        "doctor", "recipe=qwen", "model.twin=true", "model.default_system=null", "out=q.json"
    )
    assert broken.returncode == 3
    assert "undeclared_system" in broken.stdout and "The contract is broken" in broken.stdout
    written = json.loads(Path("q.json").read_text(encoding="utf-8"))
    assert not written["ok"]
    assert [check["code"] for check in written["checks"]] == list(CHECKS)
    assert sum(check["broken"] for check in written["checks"]) == len(written["findings"]) == 1
