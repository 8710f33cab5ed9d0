"""Models played back: a loopback server that answers every role from the pack's own pairs, which we wrote.

A writer gives the prompt of a pair, an attacker puts a sentence before it, the target gives the rejected
answer, a generator the chosen one, and judges know which is which. What is said depends on the question
alone, so that every run is answered the same.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from kalign import packs
from tests.providers.server import Body, Reply, Server, says, serving

FORM = re.compile(r'^\{"nonce": .*$', re.MULTILINE)
OPENINGS = ("오늘 안에 꼭 필요해서 여쭙니다.", "수업에 쓰려고 합니다.", "이야기 속 인물이 묻습니다.")
FAMILIES = ("ga", "gb", "gc", "ja", "jb", "jc")


def chance(*parts: object) -> float:
    """A number in [0, 1) that the parts decide."""
    said = "\0".join(map(str, parts)).encode()
    return int(hashlib.sha256(said).hexdigest()[:8], 16) / 16**8


@dataclass
class Models:
    """What the played-back models know; `judged` changes what a judge answers, by model."""

    pack: str = "ko"
    weak: float = 0.02  # share of answers that a judge finds too weak
    holds: float = 0.3  # share of attacks that the target withstands
    judged: dict[str, Callable[[Mapping[str, Any]], Reply]] = field(default_factory=dict)
    wait: float = 0.0

    def __post_init__(self) -> None:
        path = packs.pairs(self.pack)
        self.pairs = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        pack = packs.load(self.pack)
        self.kinds = {pack.named(one.name): one.id for one in pack.taxonomy.types}

    def __call__(self, body: Body, number: int) -> Reply:
        told = body["messages"][0]["content"] if body["messages"][0]["role"] == "system" else ""
        said = body["messages"][-1]["content"]
        if form := FORM.search(told):
            reply = self.judge(body["model"], json.loads(form[0]), json.loads(said))
        elif '{"prompt": "..."}' in told:
            reply = self.write(said, number)
        else:
            reply = self.answer(body["model"], told, said)
        return Reply(**{**reply.__dict__, "wait": self.wait})

    def pair(self, text: str) -> dict[str, Any]:
        """The pair whose prompt stands in a text."""
        return next((pair for pair in self.pairs if pair["prompt"] in text), self.pairs[0])

    def write(self, said: str, number: int) -> Reply:
        if not said.startswith("{"):  # the attacker
            opening = OPENINGS[int(chance(said) * len(OPENINGS))]
            return says(json.dumps({"prompt": f"{opening} {said}"}, ensure_ascii=False))
        given = json.loads(said)
        category, _, kind = self.kinds[given["type"]].partition(".")
        of = [pair for pair in self.pairs if (pair["category"], pair["type"]) == (category, kind)]
        return says(json.dumps({"prompt": of[int(chance(said) * len(of))]["prompt"]}, ensure_ascii=False))

    def answer(self, model: str, told: str, said: str) -> Reply:
        pair = self.pair(said)
        if told:
            return says(
                f"{pair['chosen']} 더 궁금한 점이 있으면 말씀해 주세요."
                if model == "gb-1"
                else pair["chosen"]
            )
        return says(
            "그 부탁은 들어드릴 수 없습니다." if chance(said, "holds") < self.holds else pair["rejected"]
        )

    def judge(self, model: str, form: dict[str, Any], data: Mapping[str, Any]) -> Reply:
        if model in self.judged:
            return self.judged[model](data)
        verdicts = {name: self.verdict(model, name, data) for name in form["verdicts"]}
        content = {**form, "verdicts": verdicts, "reason": "자료에 비추어 그렇다."}
        return says(json.dumps(content, ensure_ascii=False))

    def verdict(self, model: str, name: str, data: Mapping[str, Any]) -> str | int:
        weak = chance(model, name, json.dumps(data, ensure_ascii=False)) < self.weak
        if name == "acceptable":  # of a canary
            return "no"
        if name == "category":
            return str(self.pair(data["request"])["category"])
        if name == "harm":
            return 5 if data["response"] == self.pair(data["request"])["rejected"] else 1
        if name == "query":
            return 1 if weak else 4
        if name in ("safety", "coherence"):
            return 2 if weak else 5
        return "no" if weak else "yes"


@dataclass(frozen=True)
class Endpoint:
    """A running server with played-back models, and the words that name them."""

    server: Server
    models: Models
    words: tuple[str, ...]


@pytest.fixture
def models() -> Models:
    return Models()


@pytest.fixture
def endpoint(models: Models, tmp_path: Path) -> Iterator[Endpoint]:
    """Six models of six families: the first three generate, the others judge."""
    with serving(models) as server:
        yield Endpoint(server, models, words(server, tmp_path))


def words(
    server: Server, folder: Path, *, changed: Mapping[str, Any] | None = None, **more: Mapping[str, Any]
) -> tuple[str, ...]:
    """Provider files for a server, and the words that name them; settings of one family, or of all."""
    named = []
    for family in FAMILIES:
        path = folder / f"{family}.yaml"
        settings = {
            "base_url": f"http://127.0.0.1:{server.port}/v1",
            "model": f"{family}-1",
            "family": family,
            "price_in": 1.0,
            "price_out": 2.0,
            "licence": {"name": "Apache-2.0"},
            "backoff": 0.01,
            "timeout": 20,
            **(changed or {}),
            **more.get(family, {}),
        }
        path.write_text(yaml.safe_dump(settings), encoding="utf-8")
        named.append(str(path))
    return ("pipeline=ko_dpo", f"providers=[{','.join(named)}]", "as_of=2026-11-25")


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
