"""One question to a model, and the key under which its answer is kept."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kalign.providers.provider import Provider, Sampling
from kalign.records import Message

VERSION = 1  # part of every key; raise it when the same request would be sent in another form


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a provider is asked. Two requests with one key are one: it is sent, and paid for, once.

    Args:
        sampling: in place of the provider's own.
        schema: a JSON schema that the answer must keep; the answer's `parsed` is then the object.
        sample: which of several answers to the same question; each is asked for itself.
        embedding: the vector of the last message's text is asked for, rather than an answer to it; `unpacked`
            reads it from the answer's text.
        about: what it is for, such as an item's id, for whoever reads the ledger; not part of the key.
    """

    provider: Provider
    messages: tuple[Message, ...]
    sampling: Sampling | None = None
    schema: Mapping[str, Any] | None = None
    sample: int = 0
    embedding: bool = False
    about: str = ""

    def __post_init__(self) -> None:
        if not self.messages or self.messages[-1].role == "assistant":
            raise ValueError("a request's messages must end before the assistant answers")
        if self.sample < 0:
            raise ValueError(f"sample={self.sample} must be at least 0")

    @property
    def settings(self) -> Sampling:
        """The sampling that holds: its own, or the provider's."""
        return self.sampling or self.provider.sampling

    @property
    def path(self) -> str:
        """Where below the provider's address it is sent."""
        return "embeddings" if self.embedding else "chat/completions"

    @property
    def most_tokens_out(self) -> int:
        """How many tokens an answer may have at most; 0 where nothing says so, and for a vector."""
        return 0 if self.embedding else self.settings.max_tokens or 0

    def body(self) -> dict[str, Any]:
        """What is sent, in the form of OpenAI's chat completions, or of its embeddings."""
        provider, settings = self.provider, self.settings
        if self.embedding:
            text = self.messages[-1].content
            return {"model": provider.model, "input": text, "encoding_format": "float"} | provider.extra
        sent: dict[str, Any] = {
            "model": provider.model,
            "messages": [{"role": turn.role, "content": turn.content} for turn in self.messages],
        }
        if settings.temperature is not None:
            sent["temperature"] = settings.temperature
        if settings.top_p is not None:
            sent["top_p"] = settings.top_p
        if settings.seed is not None:
            sent["seed"] = settings.seed + self.sample  # or all samples would be one
        if settings.max_tokens is not None:
            sent[provider.max_tokens_key] = settings.max_tokens
        if settings.stop:
            sent["stop"] = settings.stop
        if self.schema is not None and provider.structured == "json_schema":
            form = {"name": "answer", "schema": self.schema, "strict": True}
            sent["response_format"] = {"type": "json_schema", "json_schema": form}
        elif self.schema is not None and provider.structured == "json_object":
            sent["response_format"] = {"type": "json_object"}
        return sent | provider.extra

    def key(self) -> str:
        """sha256 over everything that determines the answer, as 64 hex digits.

        The address is left out, so that the same weights served elsewhere are not asked again; the provider's
        name, model and revision stand for them.
        """
        content = {
            "version": VERSION,
            "provider": self.provider.name,
            "revision": self.provider.revision,
            "body": self.body(),
            "schema": self.schema,
            "sample": self.sample,
        }
        text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
