"""From what a server sent back to what it means: pure rules, one for each form a fault arrives in."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import lru_cache, partial
from typing import Any

from kalign.config.suspicion import SECRET
from kalign.errors import ProviderError
from kalign.providers import vectors
from kalign.providers.answer import Answer, Status, Usage
from kalign.providers.provider import Provider
from kalign.providers.request import Request

FENCED = re.compile(r"\s*```(?:json)?[ \t]*\n(.*?)\n?[ \t]*```\s*", re.DOTALL)
# Endings that are a provider's safety block: OpenAI's, Anthropic's and Gemini's words for it
BLOCKS = ("content_filter", "refusal", "safety", "prohibited_content", "blocklist", "recitation", "spii")
CUTS = ("length", "max_tokens", "model_context_window_exceeded")
NO_QUOTA = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "access_terminated")
SHORT = 200  # characters of a server's own words in a message
# A name with a date or a version after it is a snapshot of the model that was asked
SNAPSHOT = re.compile(r"[-@:.]?(?:\d{4}-?\d{2}-?\d{2}|\d{4,8}|latest|preview[-\d]*|v\d+|0*\d{1,3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back over the wire, whole."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The request has its answer."""

    status: Status
    text: str = ""
    parsed: Any = None
    reason: str = ""
    model: str = ""
    finish: str = ""
    usage: Usage = field(default_factory=Usage)

    def answer(self, request: Request, key: str, cost: float | None, **took: Any) -> Answer:
        """The answer that this end makes.

        Args:
            took: how many `attempts` and `seconds`, where that is known.
        """
        return Answer(
            request=request,
            key=key,
            status=self.status,
            text=self.text,
            parsed=self.parsed,
            reason=self.reason,
            model=self.model,
            finish=self.finish,
            usage=self.usage,
            cost=cost,
            **took,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """It failed in a way that may pass.

    `limited`: the server asks for patience; `after`: seconds that it names; `billed`: it answered, so that
    asking again costs again.
    """

    reason: str
    limited: bool = False
    after: float | None = None
    billed: bool = False
    usage: Usage = field(default_factory=Usage)
    empty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """No request to this provider can succeed until somebody mends its key, quota or name."""

    reason: str


Outcome = Ended | Again | Refused


def read(request: Request, reply: Reply) -> Outcome:
    """What a reply means for its request."""
    if reply.status != 200:
        return _fault(request, reply)
    try:
        content = json.loads(reply.body)
        json.dumps(content, ensure_ascii=False).encode("utf-8")  # finds halves of surrogate pairs
    except (ValueError, RecursionError):
        shape = "HTML" if reply.body.lstrip()[:1] == b"<" else "no JSON"
        return Again(reason=f"the server answered 200 with {shape}", billed=True)
    if not isinstance(content, dict):
        return Again(reason=f"the server answered 200 with a {type(content).__name__}", billed=True)
    if "error" in content and content["error"] and not content.get("choices"):
        return _fault(request, Reply(status=_code(content["error"]), headers=reply.headers, body=reply.body))
    return _vector(request, content) if request.embedding else _content(request, content)


def _content(request: Request, content: Mapping[str, Any]) -> Outcome:
    model, usage = _text(content.get("model")), _usage(content)
    text, refusal, finish = _said(content)
    if usage.tokens_out == 0 and text:  # some servers count nothing; a budget must not think it free
        usage = Usage(tokens_in=usage.tokens_in or prompt_tokens(request), tokens_out=tokens(text))
    provider = request.provider
    ended = partial(Ended, model=model, finish=finish, usage=usage)
    if refusal:
        return ended(status=Status.REFUSED, text=refusal, reason="the model refused")
    if finish.lower() in BLOCKS:
        return ended(status=Status.BLOCKED, text=text, reason=f"blocked by the provider ({finish})")
    if model and provider.other_model != "accept" and not same_model(provider.model, model):
        reason = f"{model} answered in place of {provider.model}"
        return ended(status=Status.WRONG_MODEL, text=text, reason=reason)
    if finish.lower() in CUTS:
        reason = f"cut at {request.settings.max_tokens} tokens"
        return ended(status=Status.TRUNCATED, text=text, reason=reason)
    if not text.strip():
        return Again(reason="the answer holds no text", billed=True, empty=True, usage=usage)
    if request.schema is None:
        return ended(status=Status.OK, text=text)
    found = parsed(text)
    if found is None:
        reason = "no single JSON object, alone or in one fence"
        return ended(status=Status.UNREADABLE, text=text, reason=reason)
    if wrong := breach(request.schema, found):
        return ended(status=Status.UNREADABLE, text=text, reason=wrong)
    return ended(status=Status.OK, text=text, parsed=found)


def _vector(request: Request, content: Mapping[str, Any]) -> Outcome:
    model, usage = _text(content.get("model")), _usage(content)
    usage = usage if usage.tokens_in else Usage(tokens_in=prompt_tokens(request))
    provider = request.provider
    if model and provider.other_model != "accept" and not same_model(provider.model, model):
        reason = f"{model} answered in place of {provider.model}"
        return Ended(status=Status.WRONG_MODEL, reason=reason, model=model, usage=usage)
    text = vectors.packed(_first(content.get("data")).get("embedding"))
    if text is None:
        return Again(reason="the answer holds no vector", billed=True, empty=True, usage=usage)
    return Ended(status=Status.OK, text=text, model=model, usage=usage)


def _said(content: Mapping[str, Any]) -> tuple[str, str, str]:
    """The text, the refusal and the reason for ending, in any of three vendors' forms."""
    if "stop_reason" in content:  # Anthropic
        return _text(content.get("content")), "", _text(content["stop_reason"])
    if "candidates" in content or "promptFeedback" in content:  # Gemini
        first = _first(content.get("candidates"))
        blocked = _mapping(content.get("promptFeedback")).get("blockReason")
        parts = _mapping(first.get("content")).get("parts")
        return _text(parts), "", "safety" if blocked or not first else _text(first.get("finishReason"))
    choice = _first(content.get("choices"))
    message = _mapping(choice.get("message"))
    return _text(message.get("content")), _text(message.get("refusal")), _text(choice.get("finish_reason"))


def _fault(request: Request, reply: Reply) -> Outcome:
    error, said = _error(reply.body)
    kind = {str(error.get(name)) for name in ("code", "type")}
    reason = f"HTTP {reply.status}{f': {said}' if said else ''}"
    if kind & set(NO_QUOTA) or reply.status == 402:
        return Refused(reason=f"the quota is used up ({reason})")
    if reply.status in (401, 403):
        name = request.provider.key_env
        held = f"the key in {name} is not accepted" if name else "it wants a key, and key_env names none"
        return Refused(reason=f"{held} ({reason})")
    if reply.status in (404, 405, 410) or 300 <= reply.status < 400:
        return Refused(
            reason=f"there is no {request.provider.model} at {request.provider.base_url} ({reason})"
        )
    if kind & {"content_filter", "content_policy_violation"}:
        return Ended(status=Status.BLOCKED, reason=f"blocked by the provider ({reason})")
    if reply.status == 429 or reply.status == 503:
        return Again(reason=reason, limited=True, after=retry_after(reply.headers))
    if reply.status >= 500 or reply.status in (408, 409, 425):
        return Again(reason=reason, after=retry_after(reply.headers))
    return Ended(status=Status.INVALID_REQUEST, reason=reason)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait; None where it does not say. A time of day is read by
    the server's own clock.

    >>> retry_after({"retry-after": "3"}), retry_after({"retry-after-ms": "250"}), retry_after({})
    (3.0, 0.25, None)
    >>> day = "Wed, 25 Nov 2026"
    >>> retry_after({"retry-after": f"{day} 10:00:30 GMT", "date": f"{day} 10:00:00 GMT"})
    30.0
    """
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name, "")
        if re.fullmatch(r"\d{1,7}(\.\d+)?", value.strip()):
            return float(value) * unit
    try:
        then, now = (parsedate_to_datetime(headers[name]) for name in ("retry-after", "date"))
        return max(0.0, (then - now).total_seconds())
    except (KeyError, ValueError, TypeError):  # absent, no date, or one with a zone and one without
        return None


def same_model(asked: str, answered: str) -> bool:
    """Whether an answer's model is the one asked for, or a dated snapshot of it.

    >>> same_model("gpt-4.1", "gpt-4.1-2025-04-14"), same_model("gpt-4.1", "gpt-4.1-mini")
    (True, False)
    >>> same_model("models/gemini-2.5-pro", "gemini-2.5-pro"), same_model("qwen/qwen3-8b", "Qwen/Qwen3-8B")
    (True, True)
    """
    one, other = (name.lower().rsplit("/", 1)[-1] for name in (asked, answered))
    if asked.rstrip("/").lower() == answered.rstrip("/").lower() or one == other:
        return True
    short, long = sorted((one, other), key=len)
    return long.startswith(short) and SNAPSHOT.fullmatch(long[len(short) :]) is not None


def parsed(text: str) -> Any:
    """The JSON object that a text is, or holds in its one fence; None if it is none, or there are several.

    >>> parsed('{"a": 1}'), parsed('```json\\n{"a": 1}\\n```'), parsed('{"a": 1} {"a": 2}'), parsed("[1]")
    ({'a': 1}, {'a': 1}, None, None)
    """
    fenced = FENCED.fullmatch(text)
    for candidate in (text, fenced[1] if fenced else ""):
        try:
            found = json.loads(candidate, parse_constant=_no_constant, object_pairs_hook=_unique)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            return found
    return None


def breach(schema: Mapping[str, Any], found: Any) -> str:
    """Where an object breaks a JSON schema, in one sentence; empty if it keeps it."""
    from jsonschema.exceptions import best_match

    wrong = best_match(_validator(json.dumps(schema, sort_keys=True)).iter_errors(found))
    if wrong is None:
        return ""
    place = ".".join(str(step) for step in wrong.absolute_path) or "the object"
    return f"{place} breaks the schema's rule {wrong.validator!r}"  # never the value: it may be harmful text


@lru_cache(maxsize=64)
def _validator(schema: str) -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(schema))


def tokens(text: str) -> int:
    """About how many tokens a text has, rather too many: one for two bytes of UTF-8.

    >>> tokens("four"), tokens("")
    (2, 0)
    """
    return -(-len(text.encode("utf-8", "surrogatepass")) // 2)


def prompt_tokens(request: Request) -> int:
    """About how many tokens a request sends, rather too many; its schema counts too."""
    schema = json.dumps(request.schema) if request.schema else ""
    return tokens(schema) + sum(tokens(turn.content) + 8 for turn in request.messages)


def redacted(text: str, key: str | None = None) -> str:
    """A server's own words on one short line, without anything that looks like a key.

    >>> redacted("Incorrect key:\\n sk-abcdefghijklmnopqrstuvwx")
    'Incorrect key: ***'
    """
    plain = " ".join(text.split())
    if key:
        plain = plain.replace(key, "***")
    plain = SECRET.sub("***", plain)
    return plain if len(plain) <= SHORT else plain[: SHORT - 3] + "..."


def _error(body: bytes) -> tuple[Mapping[str, Any], str]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}, ""
    error = _mapping(content).get("error", content)
    if isinstance(error, str):
        return {}, redacted(error)
    error = _mapping(error)
    return error, redacted(_text(error.get("message")))


def _code(error: Any) -> int:
    """The HTTP code that a gateway hides in the body of a 200; 502 if there is none."""
    code = _mapping(error).get("code")
    return code if isinstance(code, int) and 400 <= code < 600 else 502


def _usage(content: Mapping[str, Any]) -> Usage:
    said = _mapping(content.get("usage") or content.get("usageMetadata"))
    counts = [
        next((said[name] for name in names if isinstance(said.get(name), int)), 0)
        for names in (
            ("prompt_tokens", "input_tokens", "promptTokenCount"),
            ("completion_tokens", "output_tokens", "candidatesTokenCount"),
        )
    ]
    return Usage(tokens_in=max(counts[0], 0), tokens_out=max(counts[1], 0))


def _text(value: Any) -> str:
    """Text that stands alone, or in parts of type text."""
    if isinstance(value, list):
        return "".join(_text(_mapping(part).get("text")) for part in value)
    return value if isinstance(value, str) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _first(value: Any) -> Mapping[str, Any]:
    return _mapping(value[0]) if isinstance(value, list) and value else {}


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def wrong_model(provider: Provider, said: Ended | Answer) -> ProviderError:
    """That another model answered than was asked, as the end of the run."""
    return ProviderError(
        f"provider {provider.name}: {said.reason}; name {said.model} in its file, or set other_model to "
        "accept or mark there"
    )
