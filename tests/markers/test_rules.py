"""What the tagger by rules finds, and that every value it may give is in the schema."""

import pytest

from kalign.data.tags import DIMENSIONS, Tags
from kalign.markers import schema
from kalign.markers.rules import Rules


@pytest.fixture(scope="module")
def rules() -> Rules:
    return Rules()


@pytest.mark.parametrize(
    ("text", "culture", "geo", "lang"),
    [
        ("설날에 떡국을 먹는 이유를 설명해 주세요.", ("general",), (), "ko"),
        ("시어머니께 존댓말을 써야 하나요?", ("dynamics",), (), "ko"),
        ("한국의 전통 혼례 풍습을 알려 주세요.", ("knowledge", "general"), ("KR",), "ko"),
        ("How do Koreans celebrate Chuseok in Seoul?", ("general",), ("KR",), "en"),
        ("Is it rude to refuse a drink at a Japanese dinner?", ("preference",), ("JP",), "en"),
        ("What is the capital of the Democratic Republic of the Congo?", (), ("CD",), "en"),
        ("日本の正月にはどんな料理を食べますか？", (), ("JP",), "ja"),
        ("中国的春节习俗是什么？", (), ("CN",), "zh"),
        ("Explain the history of Turkey's coffee.", (), ("TR",), "en"),
        ("I ate turkey for dinner, and the food is good.", (), (), "en"),
        ("Яка столиця країни?", (), (), "uk"),
        ("2 + 2 = ?", (), (), "und"),
    ],
)
def test_words_speak_for_culture_places_and_language(
    text: str, culture: tuple[str, ...], geo: tuple[str, ...], lang: str, rules: Rules
) -> None:
    [tagged] = rules([text])
    assert (tagged.tags.culture, tagged.tags.geo, tagged.tags.lang) == (culture, geo, lang)


def test_an_ordinary_word_that_is_also_a_place_is_no_place(rules: Rules) -> None:
    assert rules(["그런 수단은 좋지 않다"])[0].tags.geo == ()


@pytest.mark.parametrize(
    ("text", "domain", "task"),
    [
        ("Write a python function that sums integers", "Code", "CodeGeneration"),
        ("Translate this sentence into French", "Unspecified", "Translation"),
        ("두통 증상이 있으면 병원에 가야 하나요?", "Medical", "QuestionAnswering"),
        ("계약서를 요약해 줘", "Legal", "Summarization"),
        ("잘 지내지", "Unspecified", "OpenEnded"),
    ],
)
def test_words_speak_for_domain_and_task(text: str, domain: str, task: str, rules: Rules) -> None:
    tags = rules([text])[0].tags
    assert (tags.domain, tags.task) == (domain, task)


def test_every_word_of_the_tables_speaks_for_a_value_of_the_schema(rules: Rules) -> None:
    known = schema.load()
    marks = {mark for entries in rules.lexicon._words.values() for _, _, mark in entries}
    marks |= {mark for entries in rules.lexicon._joined.values() for _, mark in entries}
    marks = {(dimension.partition(":")[0], value) for dimension, value in marks}
    assert {dimension for dimension, _ in marks} == {"culture", "domain", "task", "geo", "word"}
    for dimension, value in marks:
        assert value in known.values["lang" if dimension == "word" else dimension], (dimension, value)


def test_the_schema_names_249_countries_and_refuses_what_is_in_no_set() -> None:
    known = schema.load()
    assert set(known.values) == set(DIMENSIONS)
    assert len(known.values["geo"]) == 249
    assert known.values["geo"]["KR"] == "South Korea"
    assert known.wrong(Tags(culture=("knowledge",), domain="Culture", geo=("KR",), lang="ko")) is None
    assert known.wrong(Tags(geo=("XK",))) == "geo=XK is not in schema 1"
    assert known.wrong(Tags(domain="none")) == "domain=none is not in schema 1"
