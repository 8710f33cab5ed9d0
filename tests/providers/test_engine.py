"""The engine as its callers use it: order, one payment for one question, bounded memory, both ways to ask."""

import asyncio
import itertools
import re
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as any_

from kalign.errors import ConfigError, DataError, Interrupted
from kalign.providers import Answer, Engine, Ledger, Provider, Request, Sampling, Usage, estimate
from kalign.records import Message
from tests.providers.conftest import question, questions
from tests.providers.server import Reply, always, playing, says, serving

Ask = Callable[..., list[Answer]]


def echo(body: object, number: int) -> Reply:
    """The question itself as the answer; every fifth one slowly."""
    text = str(body["messages"][-1]["content"])  # type: ignore[index]
    return says(text, wait=0.05 if text.endswith("0") else 0.0)


def texts(answers: list[Answer]) -> list[str]:
    return [answer.text for answer in answers]


def test_answers_come_in_the_order_of_the_requests(ask: Ask) -> None:
    with serving(echo) as server:
        answers = ask(questions(server.provider(), 100))
    assert texts(answers) == [f"질문 {number}" for number in range(100)]


def test_unordered_answers_are_all_there_and_a_slow_one_holds_nothing_up(ask: Ask, tmp_path: Path) -> None:
    with serving(echo) as server, Engine(tmp_path / "ledger.sqlite") as engine:
        answers = list(engine.answers(questions(server.provider(), 40), ordered=False))
    assert sorted(texts(answers)) == sorted(f"질문 {number}" for number in range(40))
    assert texts(answers)[-4:] != [f"질문 {number}" for number in range(36, 40)]


def test_a_question_is_paid_once_within_a_run_and_over_runs(ask: Ask) -> None:
    with serving(echo) as server:
        twice = questions(server.provider(), 30) * 2
        answers = ask(twice)
        assert server.requests == 30
        assert answers[:30] == answers[30:]
        assert ask(twice) == answers and server.requests == 30
        assert all(answer.replayed for answer in ask(twice))


def test_a_replay_needs_no_server_and_gives_the_same(ask: Ask) -> None:
    with serving(echo) as server:
        asked = questions(server.provider(), 30)
        answers = ask(asked)
    assert ask(asked, offline=True) == answers
    with pytest.raises(DataError, match="no answer of stub for item-99"):
        ask([question(server.provider(), 99)], offline=True)


def test_an_answer_names_the_request_that_asks_now_and_not_the_first_one(ask: Ask) -> None:
    with serving(echo) as server:
        one = question(server.provider())
        other = Request(provider=one.provider, messages=one.messages, about="another item")
        assert [answer.request.about for answer in ask([one, other])] == ["item-0", "another item"]
        assert server.requests == 1


def test_samples_of_one_question_are_asked_for_themselves_with_seeds_of_their_own(ask: Ask) -> None:
    with serving(echo) as server:
        sampling = Sampling(temperature=0.8, seed=7)
        ask([question(server.provider(), sampling=sampling, sample=sample) for sample in range(3)])
        assert sorted(body["seed"] for body in server.bodies) == [7, 8, 9]


def test_a_stream_of_requests_may_be_made_while_answers_come(tmp_path: Path) -> None:
    """As one stage of a pipeline feeds the next, in one engine."""

    async def run() -> list[str]:
        async with Engine(tmp_path / "ledger.sqlite") as engine:

            async def second_stage() -> AsyncIterator[Request]:
                async for answer in engine.map(questions(provider, 20)):
                    turn = Message(role="user", content=f"{answer.text}?")
                    yield Request(provider=provider, messages=(turn,))

            return [answer.text async for answer in engine.map(second_stage())]

    with serving(echo) as server:
        provider = server.provider()
        assert asyncio.run(run()) == [f"질문 {number}?" for number in range(20)]


def test_one_stage_may_ask_with_the_answers_of_another_without_being_asynchronous(tmp_path: Path) -> None:
    with serving(echo) as server, Engine(tmp_path / "ledger.sqlite") as engine:
        provider = server.provider()
        first_stage = engine.answers(questions(provider, 150))
        follow_up = (
            Request(provider=provider, messages=(Message(role="user", content=f"{answer.text}?"),))
            for answer in first_stage
        )
        assert texts(list(engine.answers(follow_up))) == [f"질문 {number}?" for number in range(150)]


def test_a_key_that_is_missing_is_said_before_anything_is_sent(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STUB_KEY", raising=False)
    with serving(echo) as server:
        with pytest.raises(ConfigError, match="export STUB_KEY"):
            ask(questions(server.provider(key_env="STUB_KEY"), 3))
        assert server.requests == 0


def test_the_window_bounds_how_many_requests_are_taken_from_an_endless_stream(tmp_path: Path) -> None:
    taken = itertools.count()

    def endless(provider: Provider) -> Iterator[Request]:
        return (question(provider, number) for number in taken)

    with serving(echo) as server, Engine(tmp_path / "ledger.sqlite") as engine:
        answers = engine.answers(endless(server.provider(max_concurrency=4)))
        assert texts(list(itertools.islice(answers, 300))) == [f"질문 {number}" for number in range(300)]
        answers.close()  # type: ignore[attr-defined]
    assert next(taken) < 300 + 200
    assert server.most_at_once <= 4


def test_memory_does_not_grow_with_the_number_of_answers(ask: Ask, tmp_path: Path) -> None:
    """Five times as many answers of 2 kB, from the server and then from the ledger, need no more memory."""

    def peak(count: int) -> float:
        tracemalloc.start()
        with Engine(tmp_path / "ledger.sqlite", progress=False) as engine:
            for answer in engine.answers(question(provider, number) for number in range(count)):
                assert answer.ok
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most / 1e6

    with serving(always(says("가" * 700))) as server:
        provider = server.provider(max_concurrency=8)
        server.bodies = _Forgetful()
        server.headers = _Forgetful()
        peak(200)  # what is loaded and cached once
        few, many, replayed = peak(300), peak(1500), peak(1500)
    assert many < few + 0.7 and replayed < few + 0.7, (few, many, replayed)


class _Forgetful(list):  # type: ignore[type-arg]
    def append(self, item: object) -> None:
        if len(self) < 1:
            super().append(item)


def test_the_most_at_once_is_what_the_provider_allows(ask: Ask) -> None:
    with serving(always(says("네", wait=0.05))) as server:
        ask(questions(server.provider(max_concurrency=16), 100))
        assert server.most_at_once == 16


def test_64_requests_on_the_way_reach_most_of_the_ideal_rate(tmp_path: Path) -> None:
    """A smaller form of the benchmark, with room for a busy machine."""
    import time

    ideal, ratios = 320 / 64 * 0.2, [0.0]
    with serving(always(says("네", wait=0.2))) as server, Engine(tmp_path / "ledger.sqlite") as engine:
        provider = server.provider(max_concurrency=64)
        list(engine.answers([question(provider, -1)]))  # the lane opens with one request
        for attempt in range(4):
            if max(ratios) < 0.7:
                began = time.monotonic()
                asked = [question(provider, number, sample=attempt) for number in range(320)]
                assert len(list(engine.answers(asked))) == 320
                ratios.append(ideal / (time.monotonic() - began))
    assert max(ratios) >= 0.7, ratios


def test_a_deadline_stops_the_run_and_keeps_what_is_there(ask: Ask, tmp_path: Path) -> None:
    with serving(always(says("네", wait=0.02))) as server:
        with pytest.raises(Interrupted, match=r"deadline of 0\.5 s"):
            ask(questions(server.provider(max_concurrency=2), 5000), deadline=0.5)
        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            assert sum(ledger.counts().values()) == server.requests > 5


def test_usage_and_cost_are_those_of_every_attempt(ask: Ask) -> None:
    replies = iter([says(None, tokens=(10, 0)), says("네", tokens=(10, 20))])
    with serving(lambda body, number: next(replies)) as server:
        [answer] = ask([question(server.provider(price_in=1.0, price_out=2.0))])
    assert answer.usage == Usage(tokens_in=10, tokens_out=20)
    assert answer.cost == pytest.approx(10e-6 + 50e-6)


def test_a_server_that_counts_no_tokens_is_not_free(ask: Ask) -> None:
    with serving(always(Reply(body=b'{"choices": [{"message": {"content": "an answer"}}]}'))) as server:
        [answer] = ask([question(server.provider())])
    assert answer.usage.tokens_in > 0 and answer.usage.tokens_out > 0 and (answer.cost or 0) > 0


def test_a_dry_run_counts_calls_tokens_and_cost_and_sends_nothing(ask: Ask, tmp_path: Path) -> None:
    with serving(echo) as server:
        provider, unpriced = server.provider(), server.provider("free", price_in=None, price_out=None)
        ask(questions(provider, 10))
        wanted = questions(provider, 30) * 2 + questions(unpriced, 5)
        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            one, other = estimate(wanted, ledger)
        assert server.requests == 10
    assert (one.calls, one.replayed, one.tokens_out) == (20, 10, 20 * 1024)
    assert one.cost == pytest.approx((one.tokens_in * 1.0 + one.tokens_out * 2.0) / 1e6)
    assert (other.provider, other.calls, other.cost) == ("free", 5, None)


def test_recorded_answers_are_played_back_and_a_missing_one_is_named(ask: Ask, tmp_path: Path) -> None:
    recorded = tmp_path / "answers.jsonl"
    recorded.write_text(
        '{"match": ["질문", "1"], "answer": {"verdict": "safe"}}\n'
        '{"match": "질문 2", "answer": ["하나", "둘"]}\n',
        encoding="utf-8",
    )
    with serving(playing(recorded)) as server:
        answers = ask([question(server.provider(), number) for number in (1, 2)])
        assert answers[0].text == '{"verdict": "safe"}' and answers[1].text in ("하나", "둘")
        with pytest.raises(Exception, match="no recorded answer fits: 질문 3"):
            ask([question(server.provider(), 3)])


def test_a_provider_without_an_address_is_started_and_not_asked(ask: Ask) -> None:
    provider = Provider(name="local", model="bundled:tiny")
    with pytest.raises(ConfigError, match=re.escape("kalign.providers.local.started")):
        ask([question(provider)])


PROVIDER = Provider(name="p", model="m", base_url="http://x.example/v1")
BASE = {"content": "질문", "model": "m", "revision": None, "temperature": 0.5, "schema": None, "sample": 0}


def key(settings: dict[str, object]) -> str:
    from dataclasses import replace

    named = {"model": settings["model"], "revision": settings["revision"]}
    return Request(
        provider=replace(PROVIDER, **named),  # type: ignore[arg-type]
        messages=(Message(role="user", content=str(settings["content"])),),
        sampling=Sampling(temperature=settings["temperature"]),  # type: ignore[arg-type]
        schema=settings["schema"],  # type: ignore[arg-type]
        sample=settings["sample"],  # type: ignore[arg-type]
    ).key()


@given(any_.sampled_from(sorted(BASE)), any_.integers(1, 1000))
def test_a_key_changes_with_everything_that_determines_the_answer(name: str, number: int) -> None:
    values = {"temperature": number / 7, "schema": {"minProperties": number}, "sample": number}
    changed = BASE | {name: values.get(name, f"x{number}")}
    assert key(changed) != key(BASE) and key(changed) == key(dict(reversed(changed.items())))


def test_a_key_does_not_change_with_address_price_or_patience() -> None:
    from dataclasses import replace

    moved = replace(PROVIDER, base_url="http://y.example/v1", price_in=1.0, price_out=1.0, timeout=1.0)
    assert question(moved).key() == question(PROVIDER).key()
