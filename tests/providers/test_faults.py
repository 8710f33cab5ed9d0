"""The faults of a generation pipeline that belong to the engine, each provoked on a server that misbehaves on
order; the numbers are those of the project's list of faults."""

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kalign.errors import ConfigError, IntegrityError, Interrupted, ProviderError
from kalign.providers import Answer, Engine, Ledger, Provider, Status
from tests.providers.conftest import question, questions
from tests.providers.server import Reply, always, fault, first, says, serving

Ask = Callable[..., list[Answer]]


def gemini(status: int, message: str, word: str, reason: str) -> Reply:
    """An error as Gemini sends it behind OpenAI's form: in a list, with its reason among the details."""
    error = {"code": status, "message": message, "status": word, "details": [{"reason": reason}]}
    return Reply(status=status, body=json.dumps([{"error": error}]).encode())


HTML = Reply(body=b"<html>sign in</html>", headers={"content-type": "text/html"})
NO_CHOICES = Reply(
    body=b'{"model": null, "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 0}}'
)
SCHEMA = {
    "type": "object",
    "properties": {"verdict": {"enum": ["safe", "unsafe"]}},
    "required": ["verdict"],
    "additionalProperties": False,
}


def test_15_a_long_retry_after_parks_its_model_while_others_go_on(ask: Ask, tmp_path: Path) -> None:
    slow = fault(429, headers={"retry-after": "3600"})
    with serving(lambda body, number: slow if body["model"] == "parked" else says("네")) as server:
        parked, other = server.provider("one", "parked"), server.provider("two", "open")
        mixed = [question(provider, number) for number in range(20) for provider in (parked, other)]
        began = time.monotonic()
        with pytest.raises(
            Interrupted, match=r"one:parked is left .* asks to wait 3600 s.*; \d+ requests are"
        ):
            ask(mixed)
        assert time.monotonic() - began < 10
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.counts() == {("two", "open", "ok"): 20}


def test_15_a_broken_server_that_names_a_long_time_is_not_slept_for(ask: Ask) -> None:
    began = time.monotonic()
    broken = always(fault(502, headers={"retry-after": "86400"}))
    with serving(broken) as server, pytest.raises(Interrupted, match="asks to wait 86400 s"):
        ask(questions(server.provider(), 5))
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "reply",
    [
        fault(401, "Incorrect API key provided"),
        fault(403),
        fault(402),
        fault(429, code="insufficient_quota"),
        fault(404, "The model does not exist"),
        fault(400, "Your credit balance is too low to access the API. Please go to Plans & Billing."),
        gemini(400, "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT", "API_KEY_INVALID"),
        gemini(400, "User location is not supported for the API use.", "FAILED_PRECONDITION", ""),
        Reply(status=407, body=b"<html>proxy</html>"),
    ],
    ids=lambda reply: str(reply.status),
)
def test_16_a_key_or_quota_that_is_refused_stops_the_provider_after_one_request(
    ask: Ask, reply: Reply
) -> None:
    with serving(always(reply)) as server:
        with pytest.raises(ProviderError) as wrong:
            ask(questions(server.provider(max_concurrency=64), 200))
        assert server.requests == 1
    assert wrong.value.exit_code == 5
    assert str(wrong.value).startswith("provider stub: ") and "None" not in str(wrong.value)


def test_16_a_model_that_takes_no_request_at_all_is_not_asked_for_all_of_them(ask: Ask) -> None:
    wrong = fault(400, "temperature does not support 0.0 with this model")
    with serving(always(wrong)) as server:
        with pytest.raises(ProviderError, match=r"stub-1 took none of 10 requests \(HTTP 400: temperature"):
            ask(questions(server.provider(max_concurrency=4), 200))
        assert server.requests <= 10 + 4


def test_16_a_quota_that_ends_midway_keeps_every_answer_before_it(ask: Ask, tmp_path: Path) -> None:
    over = fault(429, code="insufficient_quota")
    with serving(lambda body, number: says("네") if number < 40 else over) as server:
        with pytest.raises(ProviderError, match="quota is used up"):
            ask(questions(server.provider(max_concurrency=4), 200))
        assert server.requests <= 40 + 4
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.counts() == {("stub", "stub-1", "ok"): 40}


@pytest.mark.parametrize(
    "bad", [HTML, Reply(body=b'{"choices": ['), Reply(body=b"[1]"), Reply(body=b'"\\ud800"')]
)
def test_17_a_200_without_an_answer_is_tried_again_and_never_content(ask: Ask, bad: Reply) -> None:
    with serving(first(says("먼저"), bad, bad, then=says("네"))) as server:
        answers = ask(questions(server.provider(max_concurrency=1), 2))
    assert [(answer.status, answer.text, answer.attempts) for answer in answers] == [
        (Status.OK, "먼저", 1),
        (Status.OK, "네", 3),
    ]


@pytest.mark.parametrize("nothing", [NO_CHOICES, says(None), says("  \n")])
def test_17_no_choice_and_no_text_are_empty_after_three_attempts(ask: Ask, nothing: Reply) -> None:
    with serving(always(nothing)) as server:
        [answer] = ask([question(server.provider())])
        assert server.requests == answer.attempts == 3
    assert (answer.status, answer.ok, answer.text) == (Status.EMPTY, False, "")


def test_17_a_202_is_no_answer_and_no_refusal(ask: Ask) -> None:
    with serving(first(Reply(status=202, body=b'{"status": "queued"}'), then=says("네"))) as server:
        [answer] = ask([question(server.provider())])
    assert (answer.status, answer.attempts) == (Status.OK, 2)


def test_17_counts_that_no_ledger_can_hold_cost_no_other_answer(ask: Ask) -> None:
    replies = {1: says("둘", tokens=(True, 10**30)), 2: says("셋", tokens=(-5, "7"))}
    with serving(lambda body, number: replies.get(number, says("네"))) as server:
        answers = ask(questions(server.provider(max_concurrency=1), 4))
    assert [answer.text for answer in answers] == ["네", "둘", "셋", "네"]
    assert all(0 < answer.usage.tokens_in < 100 and 0 < answer.usage.tokens_out < 100 for answer in answers)


def test_17_what_a_server_says_cannot_steer_a_terminal(ask: Ask) -> None:
    hostile = always(says("네", model="stub-1\x1b[2J\u202e-mini"))
    with serving(hostile) as server, pytest.raises(ProviderError) as wrong:
        ask([question(server.provider())])
    assert "stub-1[2J-mini answered" in str(wrong.value)


def test_17_an_endpoint_that_only_sends_html_is_left_for_later(ask: Ask) -> None:
    with serving(always(HTML)) as server:
        with pytest.raises(Interrupted, match="200 with HTML"):
            ask(questions(server.provider(), 50))
        assert server.requests < 20  # one at a time, while nothing has succeeded


# A gateway that looked at this one text: the key is good, and the next request may be answered
FLAGGED = {"code": 403, "message": "flagged", "metadata": {"reasons": ["hate"], "flagged_input": "..."}}
MODERATED = Reply(status=403, body=json.dumps({"error": FLAGGED}).encode())
ANTHROPIC = Reply(body=json.dumps({"model": "stub-1", "content": [], "stop_reason": "refusal"}).encode())
GEMINI = Reply(body=json.dumps({"candidates": [], "promptFeedback": {"blockReason": "SAFETY"}}).encode())
GEMINI_STOP = Reply(body=json.dumps({"candidates": [{"finishReason": "SAFETY"}]}).encode())


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (says(None, finish="content_filter"), Status.BLOCKED),
        (says("반쯤", finish="content_filter"), Status.BLOCKED),
        (fault(400, code="content_filter"), Status.BLOCKED),
        (MODERATED, Status.BLOCKED),
        (ANTHROPIC, Status.BLOCKED),
        (GEMINI, Status.BLOCKED),
        (GEMINI_STOP, Status.BLOCKED),
        (says(None, refusal="도와드릴 수 없습니다"), Status.REFUSED),
    ],
)
def test_18_blocks_and_refusals_have_kinds_of_their_own_and_are_asked_once(
    ask: Ask, reply: Reply, status: Status
) -> None:
    with serving(always(reply)) as server:
        [answer] = ask([question(server.provider())])
        assert (answer.status, answer.ok, answer.parsed) == (status, False, None)
        assert ask([question(server.provider())]) == [answer]
        assert server.requests == 1


def test_19_an_answer_cut_by_the_limit_is_truncated_even_if_it_is_json(ask: Ask) -> None:
    with serving(always(says('{"verdict": "safe"}', finish="length"))) as server:
        [answer] = ask([question(server.provider(), schema=SCHEMA)])
    assert (answer.status, answer.parsed, answer.ok) == (Status.TRUNCATED, None, False)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ('{"verdict": "safe"}', Status.OK),
        ('```json\n{"verdict": "safe"}\n```', Status.OK),
        ("안전합니다", Status.UNREADABLE),
        ('판정: {"verdict": "safe"}', Status.UNREADABLE),
        ('{"verdict": "safe"} {"verdict": "unsafe"}', Status.UNREADABLE),
        ('{"verdict": "safe", "verdict": "unsafe"}', Status.UNREADABLE),
        ("```" + "\n ```" * 3 + '\n{"verdict": "safe"}\n```', Status.UNREADABLE),
        ("```json\n" + " \n" * 15_000 + "{}", Status.UNREADABLE),  # white space without end
        ('{"verdict": "maybe"}', Status.UNREADABLE),
        ('{"verdict": "safe", "score": NaN}', Status.UNREADABLE),
        ("[" * 100_000, Status.UNREADABLE),
    ],
)
def test_12_json_is_read_strictly_then_in_one_fence_and_else_not_at_all(
    ask: Ask, text: str, status: Status
) -> None:
    with serving(always(says(text))) as server:
        [answer] = ask([question(server.provider(), schema=SCHEMA)])
    assert answer.status is status
    assert answer.parsed == ({"verdict": "safe"} if status is Status.OK else None)


def test_19_an_answer_longer_than_its_tokens_can_be_is_none(ask: Ask) -> None:
    with serving(always(says("가" * 200_000))) as server:
        [answer] = ask([question(server.provider())])
    assert answer.status is Status.UNREADABLE and len(answer.text) == 64 * 1024
    assert answer.reason == "200,000 characters, more than 1024 tokens can be"


def test_20_another_model_stops_the_run_with_both_names(ask: Ask) -> None:
    with serving(always(says("네", model="stub-1-mini"))) as server:
        with pytest.raises(ProviderError, match="stub-1-mini answered in place of stub-1;"):
            ask(questions(server.provider(), 20))
        assert server.requests == 1


def test_20_another_model_is_marked_or_accepted_where_the_provider_says_so(ask: Ask) -> None:
    with serving(always(says("네", model="stub-1-mini"))) as server:
        [marked] = ask([question(server.provider(other_model="mark"))])
        assert (marked.status, marked.model, marked.ok) == (Status.WRONG_MODEL, "stub-1-mini", False)
        [accepted] = ask([question(server.provider(other_model="accept"))])
        assert (accepted.status, accepted.model) == (Status.OK, "stub-1-mini")


def test_20_a_dated_snapshot_of_the_model_is_the_model(ask: Ask) -> None:
    with serving(always(says("네", model="stub-1-2025-04-14"))) as server:
        [answer] = ask([question(server.provider())])
    assert (answer.status, answer.model) == (Status.OK, "stub-1-2025-04-14")


@pytest.mark.parametrize(
    "stuck",
    [says("늦은 답", wait=30), says("느린 답", drip=1.0), says("잘린 답", cut=20), says("끊긴 답", cut=0)],
    ids=["hangs", "drips", "is cut", "closes"],
)
def test_21_an_endpoint_that_hangs_drips_or_breaks_off_is_asked_again_in_bounded_time(
    ask: Ask, stuck: Reply
) -> None:
    began = time.monotonic()
    with serving(first(stuck, then=says("네"))) as server:
        [answer] = ask([question(server.provider(timeout=0.3))])
    assert (answer.status, answer.text, answer.attempts) == (Status.OK, "네", 2)
    assert time.monotonic() - began < 3


def test_21_a_server_that_is_not_there_is_left_for_later(ask: Ask) -> None:
    with serving(always(says("네"))) as server:
        gone = server.provider()
    with pytest.raises(Interrupted, match="has answered nothing for 0 s"):
        ask(questions(gone, 5), patience=0.3)


def test_25_a_ledger_of_other_settings_is_refused_with_the_settings_that_changed(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.require_same({"pipeline": "ko_dpo", "attack.samples": 2})
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        with pytest.raises(IntegrityError, match=r"attack\.samples was 2, is 3") as wrong:
            ledger.require_same({"pipeline": "ko_dpo", "attack.samples": 3})
        assert "pipeline was" not in str(wrong.value)
        ledger.require_same({"pipeline": "ko_dpo", "attack.samples": 3}, accepted=["attack.samples"])
        ledger.require_same({"pipeline": "ko_dpo", "attack.samples": 3})


def test_28_braces_in_a_prompt_are_sent_as_they_stand(ask: Ask) -> None:
    from kalign.records import Message

    text = "{question.__class__} {0} %s ${x}"
    with serving(always(says("네"))) as server:
        request = question(server.provider())
        ask([type(request)(provider=request.provider, messages=(Message(role="user", content=text),))])
        assert server.bodies[0]["messages"] == [{"role": "user", "content": text}]


def test_31_the_budget_stops_the_run_before_it_is_passed_and_keeps_what_was_paid(
    ask: Ask, tmp_path: Path
) -> None:
    budget = 0.002
    with serving(always(says("네", tokens=(10, 20)))) as server:
        provider = server.provider(max_concurrency=8)
        provider.sampling.max_tokens = 100
        with pytest.raises(Interrupted, match=r"budget=0\.002 is reached: 0\.00\d+ US dollars are spent"):
            ask(questions(provider, 500), budget=budget)
        paid = server.requests * 50e-6
        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            assert ledger.spent() == pytest.approx(paid)
        assert budget / 2 < paid <= budget
        with pytest.raises(Interrupted):  # the cap is one for all runs on the ledger
            ask(questions(provider, 500), budget=budget)
        assert server.requests * 50e-6 == pytest.approx(paid)


def test_31_what_was_on_the_way_of_a_killed_run_counts_as_spent(ask: Ask, tmp_path: Path) -> None:
    left = tmp_path / "left"

    def answer(body: object, number: int) -> Reply:
        if number == 40:  # what lies on the disk now is all that a kill would leave
            left.mkdir()
            for path in tmp_path.glob("ledger.sqlite*"):
                shutil.copy(path, left)
        return says("네", tokens=(10, 20), wait=0.05)

    with serving(answer) as server:
        provider = server.provider(max_concurrency=16)
        provider.sampling.max_tokens = 20
        ask(questions(provider, 60), budget=1.0)
    with Ledger(left / "ledger.sqlite") as ledger:
        answered = sum(ledger.counts().values())
        assert answered < 40 and 40 * 50e-6 <= ledger.spent() < (answered + 2 * 16) * 70e-6
        once = ledger.spent()
    with Ledger(left / "ledger.sqlite") as ledger:  # and is counted once
        assert ledger.spent() == once
    with Ledger(tmp_path / "ledger.sqlite") as ledger:  # a run that ends as it should leaves nothing
        assert ledger.spent() == pytest.approx(60 * 50e-6)


def test_31_answers_that_are_lost_on_the_way_count_under_a_cap(ask: Ask) -> None:
    with serving(always(says("늦은 답", wait=5))) as server:
        provider = server.provider(timeout=0.1, attempts=100)
        provider.sampling.max_tokens = 1000
        with pytest.raises(Interrupted, match="budget="):
            ask(questions(provider, 20), budget=0.01, patience=30)
        assert 3 <= server.requests <= 5


def test_31_a_budget_without_a_price_or_a_limit_of_tokens_is_refused_before_anything_is_sent(
    ask: Ask,
) -> None:
    with serving(always(says("네"))) as server:
        with pytest.raises(ConfigError, match="price is not known"):
            ask([question(server.provider(price_in=None, price_out=None))], budget=1.0)
        endless = server.provider()
        endless.sampling.max_tokens = None
        with pytest.raises(ConfigError, match=re.escape("without sampling.max_tokens")):
            ask([question(endless)], budget=1.0)
        assert server.requests == 0


@pytest.mark.parametrize("unusable", [Reply(body=b'{"choices": ['), Reply(body=b"x" * (17 << 20))])
def test_31_an_answer_that_cannot_be_read_counts_as_the_dearest_one(ask: Ask, unusable: Reply) -> None:
    with serving(first(unusable, then=says("네", tokens=(10, 20)))) as server:
        provider = server.provider()
        provider.sampling.max_tokens = 1000
        [answer] = ask([question(provider)])
    assert answer.attempts == 2 and 2000e-6 < (answer.cost or 0) < 2200e-6


def test_32_a_clock_that_is_set_back_changes_no_pause(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    with serving(first(fault(429, headers={"retry-after": "0.2"}), then=says("네"))) as server:
        monkeypatch.setattr(time, "time", lambda: real() - 3600)
        began = time.monotonic()
        [answer] = ask([question(server.provider())])
    assert answer.ok and 0.2 <= time.monotonic() - began < 3


def test_4_no_key_is_written_logged_or_shown(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    canary = "canary" + "0123456789" * 3
    monkeypatch.setenv("STUB_KEY", canary)
    caplog.set_level(0)
    with serving(first(says("네"), then=fault(401, f"Incorrect API key: {canary}"))) as server:
        provider = server.provider(key_env="STUB_KEY", max_concurrency=1)
        with pytest.raises(ProviderError) as wrong:
            ask(questions(provider, 2))
        assert server.headers[0]["authorization"] == f"Bearer {canary}"
    assert "STUB_KEY" in str(wrong.value) and canary not in str(wrong.value)
    assert canary not in caplog.text and canary not in repr(provider)
    assert all(canary.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize("key", ["canary\ncanary", "canary canary", "canary\u200b", "열쇠"])
def test_4_what_cannot_be_a_key_is_refused_without_showing_it(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("STUB_KEY", key)
    with serving(always(says("네"))) as server:
        with pytest.raises(ConfigError, match="STUB_KEY holds no key") as wrong:
            ask([question(server.provider(key_env="STUB_KEY"))])
        assert server.requests == 0
    assert "canary" not in str(wrong.value) and "열쇠" not in str(wrong.value)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_4_the_password_of_a_proxy_is_never_shown(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    remote = Provider(name="stub", model="stub-1", base_url=f"{scheme}://stub.example/v1", backoff=0.01)
    for status, kind in ((407, ProviderError), (503, Interrupted)):
        with serving(always(Reply(status=status))) as server:
            monkeypatch.setenv(f"{scheme}_proxy", f"http://me:canary@127.0.0.1:{server.port}")
            with pytest.raises(kind) as wrong:
                ask([question(remote)], patience=0.1)
        assert "canary" not in str(wrong.value)
    for named in ("http://me:canary@127.0.0.1:port", "socks5://me:canary@127.0.0.1:1"):
        monkeypatch.setenv(f"{scheme}_proxy", named)
        with pytest.raises(ConfigError, match=f"{scheme}_proxy names no proxy") as wrong:
            ask([question(remote)])
        assert "canary" not in str(wrong.value)


def test_a_proxy_may_be_named_without_its_scheme(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(always(says("네"))) as server:
        monkeypatch.setenv("http_proxy", f"127.0.0.1:{server.port}")
        [answer] = ask([question(Provider(name="stub", model="stub-1", base_url="http://stub.example/v1"))])
    assert answer.ok


def test_4_a_redirect_is_not_followed_with_the_key(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_KEY", "canary")
    with serving(always(says("네"))) as elsewhere:
        there = {"location": f"http://127.0.0.1:{elsewhere.port}/v1/chat/completions"}
        with serving(always(Reply(status=307, headers=there))) as server, pytest.raises(ProviderError):
            ask([question(server.provider(key_env="STUB_KEY"))])
        assert elsewhere.requests == 0


def test_a_request_that_the_server_will_not_take_fails_alone(ask: Ask) -> None:
    wrong = fault(400, "messages too long")
    with serving(lambda body, number: wrong if "질문 1" in str(body) else says("네")) as server:
        answers = ask(questions(server.provider(), 3))
    assert [answer.status.value for answer in answers] == ["ok", "invalid_request", "ok"]
    assert answers[1].reason == "HTTP 400: messages too long"


def test_a_request_that_always_breaks_the_server_fails_alone_and_is_asked_again_next_time(ask: Ask) -> None:
    broken = True

    def answer(body: object, number: int) -> Reply:
        return fault(500) if broken and "질문 3" in str(body) else says("네")

    with serving(answer) as server:
        provider = server.provider(attempts=3)
        first_run = ask(questions(provider, 8))
        assert [answer.status.value for answer in first_run] == ["ok"] * 3 + ["failed"] + ["ok"] * 4
        assert first_run[3].attempts == 3
        assert ask(questions(provider, 8), offline=True) == first_run  # a replay changes nothing
        broken = False
        assert all(answer.ok for answer in ask(questions(provider, 8)))
        assert server.requests == 7 + 3 + 1


def test_every_request_of_a_model_waits_when_the_server_asks_for_patience(tmp_path: Path) -> None:
    times: list[float] = []

    def answer(body: object, number: int) -> Reply:
        times.append(time.monotonic())
        return fault(429, headers={"retry-after": "0.5"}) if number == 10 else says("네", wait=0.02)

    with serving(answer) as server, Engine(tmp_path / "ledger.sqlite") as engine:
        assert all(one.ok for one in engine.answers(questions(server.provider(max_concurrency=4), 60)))
    gaps = [later - sooner for sooner, later in zip(times, times[1:], strict=False)]
    assert max(gaps) >= 0.45  # one pause, and nobody asked in it


def test_rate_limits_without_a_time_lower_the_number_of_requests_at_once(ask: Ask) -> None:
    def answer(body: object, number: int) -> Reply:
        return fault(429) if server.at_once > 4 else says("네", wait=0.01)

    with serving(answer) as server:
        answers = ask(questions(server.provider(max_concurrency=64, backoff=0.02), 120))
        assert all(one.ok for one in answers)
        assert server.requests < 4 * len(answers)


def test_in_an_outage_one_request_at_a_time_looks_whether_it_is_over(ask: Ask) -> None:
    """Requests that were on the way all fail, then few are sent, and afterwards all are answered."""
    began = time.monotonic()

    def answer(body: object, number: int) -> Reply:
        outage = number > 20 and time.monotonic() - began < 1.5
        return fault(503 if number % 2 else 500) if outage else says("네", wait=0.01)

    with serving(answer) as server:
        answers = ask(questions(server.provider(max_concurrency=32, backoff=0.05, attempts=4), 200))
        assert all(one.ok for one in answers)
        assert server.requests < 200 + 3 * 32


def test_requests_per_minute_are_kept(ask: Ask) -> None:
    began = time.monotonic()
    with serving(always(says("네"))) as server:
        ask(questions(server.provider(requests_per_minute=600), 6))
    assert time.monotonic() - began >= 0.45  # five gaps of a tenth of a second
