"""Promises about chat templates: kept by every model's twin, and each broken one is said by its field."""

import datetime
from typing import Any

import pytest
from transformers.utils import chat_template_utils

from kalign.config import Model, compose
from kalign.errors import ConfigError, DataError
from kalign.models import families, loading, promises
from kalign.models.chat import Chat
from kalign.records import Message, Triplet, UnusableTriplet


def model_of(name: str, **changes: Any) -> Model:
    """The settings of conf/model/NAME.yaml, for its twin."""
    model = compose.load(["recipe=tiny", f"model={name}", "model.twin=true"]).model
    for key, value in changes.items():
        setattr(model, key, value)
    return model


def chat_of(model: Model, template: str | None = None) -> Chat:
    tokenizer = loading.load_tokenizer(model, loading.locate(model))
    if template is not None:
        tokenizer.chat_template = template
    return Chat(
        tokenizer,
        bos_count=model.bos_count,
        turn_end=model.turn_end,
        template_kwargs=model.template_kwargs,
    )


def said(*roles_and_texts: str) -> tuple[Message, ...]:
    return tuple(
        Message(role=role, content=text)
        for role, text in zip(roles_and_texts[::2], roles_and_texts[1::2], strict=True)
    )


@pytest.mark.parametrize("name", families.names())
def test_every_model_keeps_what_its_settings_promise(name: str) -> None:
    model = model_of(name)
    promises.load_chat(model, loading.locate(model))
    assert model.system is not None and model.trims is not None and model.generation_prompt is not None


RENDERED = {
    "exaone": (
        "[|system|][|endofturn|]\n[|user|] 물음 \n[|assistant|] 답 [|endofturn|]\n",
        "[|system|]규칙[|endofturn|]\n[|user|] 물음 \n[|assistant|] 답 [|endofturn|]\n",
    ),
    "ax": (
        "<|im_start|><|user|> 물음 <|im_end|><|im_start|><|assistant|> 답 <|im_end|>",
        "<|im_start|><|system|>규칙<|im_end|>"
        "<|im_start|><|user|> 물음 <|im_end|><|im_start|><|assistant|> 답 <|im_end|>",
    ),
    "kanana": (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n물음<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n답<|eot_id|>",
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n규칙<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n물음<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n답<|eot_id|>",
    ),
    "qwen": (
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n 물음 <|im_end|>\n<|im_start|>assistant\n 답 <|im_end|>\n",
        "<|im_start|>system\n규칙<|im_end|>\n<|im_start|>user\n 물음 <|im_end|>\n<|im_start|>assistant\n 답 "
        "<|im_end|>\n",
    ),
    "gemma": (
        "<bos><start_of_turn>user\n물음<end_of_turn>\n<start_of_turn>model\n답<end_of_turn>\n",
        "<bos><start_of_turn>user\n규칙\n\n물음<end_of_turn>\n<start_of_turn>model\n답<end_of_turn>\n",
    ),
    "llama": (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
        "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n물음<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n답<|eot_id|>",
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
        "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n규칙<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n물음<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n답<|eot_id|>",
    ),
}


@pytest.mark.parametrize("name", RENDERED)
def test_a_twin_renders_as_its_model_is_published_to(name: str) -> None:
    chat = chat_of(model_of(name))
    turns = said("user", " 물음 ", "assistant", " 답 ")
    alone, ruled = RENDERED[name]
    assert chat.render(turns, add_generation_prompt=False) == alone
    assert chat.render([*said("system", "규칙"), *turns], add_generation_prompt=False) == ruled


@pytest.mark.parametrize("name", RENDERED)
def test_the_answer_is_trained_with_its_turn_end_and_no_more(name: str) -> None:
    model = model_of(name)
    chat = promises.load_chat(model, loading.locate(model))
    tokens = chat.tokens(
        Triplet(
            id="t",
            prompt=said("user", "물음이에요"),
            chosen=said("assistant", "좋은 답"),
            rejected=said("assistant", "나쁜 답"),
        )
    )
    assert chat.tokenizer.decode(tokens.chosen) == f"좋은 답{model.turn_end}"
    assert chat.tokenizer.decode(tokens.rejected) == f"나쁜 답{model.turn_end}"
    assert (tokens.prompt + tokens.chosen).count(chat.tokenizer.pad_token_id) == 0


BROKEN: dict[str, tuple[str, dict[str, Any], str]] = {
    "a default system text that is not declared": ("qwen", {"default_system": None}, "of its own"),
    "a declared one that is not written": ("ax", {"default_system": "규칙"}, "writes no system turn"),
    "another one than is declared": ("qwen", {"default_system": "You are Qwen."}, "You are a helpful"),
    "one that differs in its last mark": (
        "qwen",
        {"default_system": "You are Qwen, created by Alibaba Cloud. You are a helpful assistant"},
        "state the text it has",
    ),
    "an empty system turn that is not declared": ("exaone", {"default_system": None}, "of its own"),
    "dates that are not declared": ("llama", {"default_system": ""}, "Cutting Knowledge"),
    "another date than is declared": ("llama", {"template_kwargs": {"date_string": "1 Jan"}}, "1 Jan"),
    "a turn where merging is declared": ("kanana", {"system": "merged"}, "message is turn"),
    "merging where a turn is declared": ("gemma", {"system": "turn"}, "message is merged"),
    "trimming where none is declared": ("llama", {"trims": False}, "trims blanks"),
    "no trimming where it is declared": ("qwen", {"trims": True}, "keeps blanks"),
    "another opening of answers": ("qwen", {"generation_prompt": "<|assistant|>"}, "opens an answer with"),
    "another template than is pinned": ("qwen", {"template_sha256": "0" * 64}, "look at what changed"),
    "no bos where one is declared": ("qwen", {"bos_count": 1}, "None"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_promise_is_refused_with_what_the_template_does(case: str) -> None:
    name, changes, words = BROKEN[case]
    model = model_of(name, **changes)
    with pytest.raises(DataError, match=words):
        promises.load_chat(model, loading.locate(model))


def test_a_template_that_loses_or_refuses_system_messages_is_told_apart() -> None:
    turn = "{{ '<|im_start|>' + m['role'] + m['content'] + '<|im_end|>' }}"
    prompt = "{% if add_generation_prompt %}<|im_start|>assistant{% endif %}"
    lost = "{% for m in messages if m['role'] != 'system' %}" + turn + "{% endfor %}" + prompt
    refused = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + lost
    model = model_of("ax")
    assert promises.system_policy(chat_of(model, lost)) == "lost"
    assert promises.system_policy(chat_of(model, refused)) == "refused"


def test_gemma_drops_what_does_not_alternate_with_its_reason() -> None:
    chat = chat_of(model_of("gemma"))
    twice = Triplet(
        id="t",
        prompt=said("user", "물음", "user", "또 물음"),
        chosen=said("assistant", "좋은 답"),
        rejected=said("assistant", "나쁜 답"),
    )
    with pytest.raises(UnusableTriplet, match="alternate") as refused:
        chat.tokens(twice)
    assert refused.value.reason == "template_refuses"


CLOCK = (
    "{% if date_string is not defined %}{% if strftime_now is defined %}"
    "{% set date_string = strftime_now('%d %b %Y') %}{% else %}"
    "{% set date_string = '26 Jul 2024' %}{% endif %}{% endif %}"
    "<|im_start|><|system|>Today Date: {{ date_string }}<|im_end|>"
    "{% for m in messages %}{{ '<|im_start|><|' + m['role'] + '|>' + m['content'] + '<|im_end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|><|assistant|>{% endif %}"
)


def on(day: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the function that templates are offered for today's date see another day."""

    class Faked(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> "Faked":
            return cls(2031, 1, day)

    monkeypatch.setattr(chat_template_utils, "datetime", Faked)


def test_with_a_pinned_date_a_template_renders_the_same_on_every_day(monkeypatch: pytest.MonkeyPatch) -> None:
    chat = chat_of(model_of("ax", template_kwargs={"date_string": "26 Jul 2024"}), CLOCK)
    rendered = []
    for day in (1, 2):
        on(day, monkeypatch)
        rendered.append(chat.render(said("user", "물음"), add_generation_prompt=True))
    assert rendered[0] == rendered[1]
    assert "26 Jul 2024" in rendered[0]


def test_a_template_that_asks_for_todays_date_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("ax")
    on(1, monkeypatch)
    tokenizer = loading.load_tokenizer(model, loading.locate(model))
    tokenizer.chat_template = CLOCK
    turns = [{"role": "user", "content": "물음"}]
    assert "01 Jan 2031" in tokenizer.apply_chat_template(
        turns, tokenize=False
    )  # the clock is there to be asked
    with pytest.raises(DataError, match=r"today's date.*model\.template_kwargs"):
        chat_of(model, CLOCK)


@pytest.mark.parametrize(
    ("words", "said_so"),
    [
        (["model=llama", "model.pad_token=<|eot_id|>"], "model.pad_token=<|eot_id|> is model.turn_end too"),
        (["model=qwen", "model.system=merged"], "needs model.system=turn"),
        (["model=qwen", "model.system=trun"], "did you mean turn"),
        (["model=other", "model.twin=true"], "needs to know whose twin"),
        (["model=ax", "model.template_kwargs={strftime_now:x}"], "which kalign decides"),
        (["model=ax", "model.template_kwarg.x=1"], "did you mean"),
    ],
)
def test_settings_that_contradict_themselves_are_refused_while_composing(
    words: list[str], said_so: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        compose.load(["recipe=tiny", *words])
    assert said_so in str(refused.value)


def test_the_date_of_llama_is_one_setting() -> None:
    model = compose.load(["recipe=llama", "model.template_kwargs.date_string='1 Jan 2025'"]).model
    assert model.default_system is not None and "1 Jan 2025" in model.default_system
    model.twin = True
    promises.load_chat(model, loading.locate(model))
