"""Tags from a model: a real server answers, well and badly, and nothing bad is taken for no culture."""

import json
from pathlib import Path

import pytest

from kalign.data.tags import Tags
from kalign.markers import models
from kalign.markers.models import LONGEST, Model
from tests.providers.server import Body, Reply, says, serving

GOOD = {
    "culture": ["general", "knowledge"],
    "domain": "Culture",
    "task": "Explanation",
    "geo": ["KR"],
    "lang": "ko",
}


def answering(body: Body, number: int) -> Reply:
    """As a model that is good at kimchi, talks at the first question on tea, and never answers on poison."""
    text = body["messages"][-1]["content"]
    again = body.get("temperature", 0) > 0
    if "kimchi" in text or ("tea" in text and again):
        return says(json.dumps(GOOD))
    if "refuse" in text:
        return says(None, refusal="I cannot.")
    if "nonsense" in text:
        return says(json.dumps(GOOD | {"culture": ["bias"]}))
    return says("It is about tea.")


def test_an_answer_is_asked_for_once_more_and_then_unparsed(tmp_path: Path) -> None:
    texts = ["kimchi", "tea", "poison", "please refuse", "nonsense", "x" * (LONGEST + 1)]
    with serving(answering) as server:
        tagger = Model(server.provider("tagger"))
        with tagger.asking(tmp_path / "answers.sqlite"):
            found = tagger(texts)
        assert server.requests == 5 + 3
        with tagger.asking(tmp_path / "answers.sqlite"):
            assert tagger(texts) == found
        assert server.requests == 5 + 3  # nothing is asked, or paid for, twice
    good = Tags(
        culture=("knowledge", "general"), domain="Culture", task="Explanation", geo=("KR",), lang="ko"
    )
    assert [tagged.tags for tagged in found[:2]] == [good, good]
    assert [tagged.tags.status for tagged in found[2:]] == ["unparsed", "refused", "unparsed", "too_long"]
    assert found[2].raw == "It is about tea."


def test_a_model_is_told_every_class_and_another_prompt_is_another_tagger(tmp_path: Path) -> None:
    tagger = models.of("openai")
    for dimension in ("culture", "domain", "task", "lang"):
        for value, meaning in tagger.schema.values[dimension].items():
            assert f"- {value}: {meaning}" in tagger.prompt
    before = tagger.prompt_hash
    tagger.prompt = tagger.prompt + "?"
    assert tagger.prompt_hash != before


@pytest.mark.parametrize("name", ["rulez", "local:no/such/model/here"])
def test_a_tagger_that_is_none_is_refused(name: str, kalign_here, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "x.jsonl").write_text('{"prompt": "x"}\n', encoding="utf-8")
    refused = kalign_here("tag", "data.path=x.jsonl", f"tagger={name}")
    assert refused.returncode == 2
    assert f"tagger={name} is neither rules nor a provider" in refused.stderr
