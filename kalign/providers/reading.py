"""From what a server sent back to what it means: pure rules, one for each form a fault arrives in."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

from kalign.config.suspicion import SECRET
from kalign.providers import vectors
from kalign.providers.answer import Status, Usage
from kalign.providers.counting import counted, dearest, prompt_tokens, tokens
from kalign.providers.objects import breach, parsed
from kalign.providers.request import Request

# Endings that are a provider's safety block: OpenAI's, Anthropic's and Gemini's words for it
BLOCKS = ("content_filter", "refusal", "safety", "prohibited_content", "blocklist", "recitation", "spii")
CUTS = ("length", "max_tokens", "model_context_window_exceeded")
NO_QUOTA = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "access_terminated")
NO_CREDIT = "credit balance is too low"  # Anthropic's words for it, in what is otherwise an invalid request
# Keys and places that are not accepted, in what is otherwise an invalid request: OpenAI's and Gemini's words
NO_KEY = ("invalid_api_key", "API_KEY_INVALID")
NO_PLACE = ("unsupported_country_region_territory", "FAILED_PRECONDITION")
FILTERED = ("content_filter", "content_policy_violation")
LONGEST_TOKEN = 64  # characters, on average over an answer; far too many
USER = re.compile(r"//[^/\s@]+@")  # who is let in at an address, such as a proxy's
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """It failed in a way that may pass.

    `limited`: the server asks for patience; `after`: seconds that it names; `billed`: it answered, so that
    asking again costs again; `unsure`: it may have, and only the answer was lost.
    """

    reason: str
    limited: bool = False
    after: float | None = None
    billed: bool = False
    unsure: bool = False
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
        if reply.body.lstrip()[:1] == b"<":  # some page on the way, and no answer of a model
            return Again(reason="the server answered 200 with HTML", billed=True)
        return Again(reason="the server answered 200 with no JSON", billed=True, usage=dearest(request))
    if not isinstance(content, dict):
        reason = f"the server answered 200 with a {type(content).__name__}"
        return Again(reason=reason, billed=True, usage=dearest(request))
    if "error" in content and content["error"] and not content.get("choices"):
        return _fault(request, Reply(status=_code(content["error"]), headers=reply.headers, body=reply.body))
    return _vector(request, content) if request.embedding else _content(request, content)


def _content(request: Request, content: Mapping[str, Any]) -> Outcome:
    model, usage = (
        redacted(_text(content.get("model"))),
        counted(content),
    )
    text, refusal, finish = _said(content)
    if text:  # some servers do not count all of it; a budget must not think that free
        usage = Usage(
            tokens_in=usage.tokens_in or prompt_tokens(request),
            tokens_out=usage.tokens_out or tokens(text),
        )
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
    return _whole(request, text, ended)


def _whole(request: Request, text: str, ended: Callable[..., Ended]) -> Ended:
    """What a text means that came to its end: content, if it has the length and form that were asked for."""
    most = LONGEST_TOKEN * request.most_tokens_out
    if 0 < most < len(text):  # a server that knows no limit; nobody else should have to read it
        reason = f"{len(text):,} characters, more than {request.settings.max_tokens} tokens can be"
        return ended(status=Status.UNREADABLE, text=text[:most], reason=reason)
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
    model, usage = (
        redacted(_text(content.get("model"))),
        counted(content),
    )
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
    kind = _kinds(error)
    reason = f"HTTP {reply.status}{f': {said}' if said else ''}"
    if reply.status < 300:  # 202 and the like: taken, and not answered
        return Again(reason=reason)
    if kind & set(NO_QUOTA) or reply.status == 402 or NO_CREDIT in said:
        return Refused(reason=f"the quota is used up ({reason})")
    if kind & set(NO_PLACE):
        return Refused(reason=f"it is not open to this account or from here ({reason})")
    if reply.status == 407:
        return Refused(reason=f"the proxy of the environment wants other credentials ({reason})")
    if kind & set(FILTERED) or (reply.status == 403 and _is_flagged(error)):
        return Ended(status=Status.BLOCKED, reason=f"blocked by the provider ({reason})")
    if reply.status in (401, 403) or kind & set(NO_KEY):
        name = request.provider.key_env
        held = f"the key in {name} is not accepted" if name else "it wants a key, and key_env names none"
        return Refused(reason=f"{held} ({reason})")
    if reply.status in (404, 405, 410) or 300 <= reply.status < 400:
        return Refused(
            reason=f"there is no {request.provider.model} at {request.provider.base_url} ({reason})"
        )
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


def redacted(text: str, key: str | None = None) -> str:
    """A server's own words on one short line, without anything that looks like a key.

    >>> redacted("Incorrect key:\\n sk-abcdefghijklmnopqrstuvwx")
    'Incorrect key: ***'
    """
    plain = "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
    if key:
        plain = plain.replace(key, "***")
    plain = USER.sub("//***@", SECRET.sub("***", plain))
    return plain if len(plain) <= SHORT else plain[: SHORT - 3] + "..."


def _error(body: bytes) -> tuple[Mapping[str, Any], str]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}, ""
    if isinstance(content, list):  # Gemini, in OpenAI's form
        content = _first(content)
    error = _mapping(content).get("error", content)
    if isinstance(error, str):
        return {}, redacted(error)
    error = _mapping(error)
    return error, redacted(_text(error.get("message")))


def _kinds(error: Mapping[str, Any]) -> set[str]:
    """Every word by which a vendor names the kind of an error; Gemini's stand among its details."""
    details = error.get("details")
    reasons = [_mapping(one).get("reason") for one in details] if isinstance(details, list) else []
    return {str(one) for one in (*(error.get(name) for name in ("code", "type", "status")), *reasons)}


def _is_flagged(error: Mapping[str, Any]) -> bool:
    """Whether a gateway's moderation refused this one text, which says nothing of the key.

    Source: https://openrouter.ai/docs/api/reference/errors-and-debugging
    """
    return bool({"flagged_input", "reasons"} & _mapping(error.get("metadata")).keys())


def _code(error: Any) -> int:
    """The HTTP code that a gateway hides in the body of a 200; 502 if there is none."""
    code = _mapping(error).get("code")
    return code if isinstance(code, int) and 400 <= code < 600 else 502


def _text(value: Any) -> str:
    """Text that stands alone, or in parts of type text."""
    if isinstance(value, list):
        return "".join(_text(_mapping(part).get("text")) for part in value)
    return value if isinstance(value, str) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _first(value: Any) -> Mapping[str, Any]:
    return _mapping(value[0]) if isinstance(value, list) and value else {}
