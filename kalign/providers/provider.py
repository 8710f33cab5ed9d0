"""Settings of one provider: an endpoint that speaks OpenAI's protocol, and the model that is asked there."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kalign.config import Licence, options, suspicion
from kalign.config.rules import above, one_of
from kalign.errors import ConfigError

STRUCTURED = ("json_schema", "json_object", "none")
OTHER_MODEL = ("stop", "mark", "accept")
MAX_TOKENS_KEYS = ("max_tokens", "max_completion_tokens")
BATCH = ("openai", "anthropic")
ADDRESS = re.compile(r"https?://[^/@\s?#]+(?:/[^\s?#]*)?")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
KEY = re.compile(r"[!-~]+")  # what a header may hold, without a space
# What kalign itself says in a request: another value of it would be sent beside what the key, the budget and
# the reading of an answer hold true
SAID = (
    *("model", "messages", "input", "encoding_format", "response_format", "stream", "n", "stop", "seed"),
    *("temperature", "top_p", *MAX_TOKENS_KEYS),
)


@dataclass(kw_only=True)
class Sampling:
    """How a model samples; None leaves a setting to the endpoint, and is not sent."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = 1024
    seed: int | None = None
    stop: list[str] = field(default_factory=list)

    def check(self, where: str) -> None:
        """Raise ConfigError where a value is out of range."""
        if self.temperature is not None:
            above(f"{where}.temperature", self.temperature, 0, inclusive=True)
        if self.top_p is not None:
            above(f"{where}.top_p", self.top_p, 0)
        if self.max_tokens is not None:
            above(f"{where}.max_tokens", self.max_tokens, 0)


@dataclass(kw_only=True)
class Provider:
    """One endpoint and one model of it; values and their comments stand in conf/provider/."""

    name: str
    model: str
    base_url: str | None = None  # None: a server that kalign starts on this machine
    revision: str | None = None
    key_env: str | None = None
    family: str | None = None
    licence: Licence = field(default_factory=Licence)
    price_in: float | None = None  # US dollars for a million tokens
    price_out: float | None = None
    max_concurrency: int = 32
    requests_per_minute: int | None = None
    timeout: float = 120.0  # seconds for one request, from connecting to the last byte
    attempts: int = 6
    backoff: float = 0.5  # seconds before the second attempt; doubles with each further one
    structured: str = "json_schema"
    other_model: str = "stop"
    max_tokens_key: str = "max_tokens"
    batch: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    extra: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raise ConfigError where a value is out of range or contradicts another."""
        where = f"provider {self.name}"
        if not self.model.strip():
            raise ConfigError(f"{where} names no model; write {self.name}:MODEL, or set model in its file")
        if self.base_url is not None and not _is_address(self.base_url):
            secret = re.search(r"[@?#]", self.base_url)  # behind one of these may stand a key
            shown = "" if secret else f"={self.base_url}"
            raise ConfigError(
                f"{where}: base_url{shown} is no address of an endpoint; write https://HOST/v1, without "
                "user, password or anything behind '?'"
            )
        if self.key_env is not None and not VARIABLE.fullmatch(self.key_env):
            raise ConfigError(
                f"{where}: key_env must be the name of an environment variable, and holds something else"
            )
        one_of(f"{where}: structured", self.structured, STRUCTURED)
        one_of(f"{where}: other_model", self.other_model, OTHER_MODEL)
        one_of(f"{where}: max_tokens_key", self.max_tokens_key, MAX_TOKENS_KEYS)
        if self.batch is not None:
            one_of(f"{where}: batch", self.batch, BATCH)
        for key in ("max_concurrency", "timeout", "attempts"):
            above(f"{where}: {key}", getattr(self, key), 0)  # names of this very class
        above(f"{where}: backoff", self.backoff, 0, inclusive=True)
        if self.requests_per_minute is not None:
            above(f"{where}: requests_per_minute", self.requests_per_minute, 0)
        if taken := [key for key in self.extra if key in SAID]:
            raise ConfigError(
                f"{where}: extra.{taken[0]} is said by kalign itself; leave it out of extra, and set it by "
                "the provider's own settings or its sampling"
            )
        if (self.price_in is None) != (self.price_out is None):
            raise ConfigError(f"{where} has one price of two; give price_in and price_out, or neither")
        self.licence.check()
        self.sampling.check(f"{where}: sampling")

    @property
    def kin(self) -> str:
        """Whose model it is, for the rule that a judge is no kin of a generator: `family`, or the owner in
        the model's name."""
        return (self.family or self.model.split("/")[0]).lower()

    def key(self) -> str | None:
        """The key's value, read at this moment; it is never kept, written, logged or printed.

        Raises:
            ConfigError: the variable is not set, or holds what cannot be a key.
        """
        if self.key_env is None:
            return None
        value = os.environ.get(self.key_env, "").strip()
        if not value:
            raise ConfigError(
                f"provider {self.name} needs a key, and {self.key_env} is not set; export {self.key_env}"
            )
        if not KEY.fullmatch(value):
            raise ConfigError(
                f"provider {self.name}: {self.key_env} holds no key, but several lines, words or letters "
                f"that no key has; export {self.key_env} anew"
            )
        return value

    def cost(self, tokens_in: int, tokens_out: int) -> float | None:
        """US dollars for so many tokens; None where no price is known."""
        if self.price_in is None or self.price_out is None:
            return None
        return (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6


def _is_address(url: str) -> bool:
    """Whether a URL can be asked: a host that can be looked up, a port that there is, and nothing secret."""
    if not ADDRESS.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        return bool(parts.hostname and parts.hostname.encode("idna") and parts.port != 0)
    except ValueError:  # a UnicodeError is one
        return False


def shipped() -> dict[str, Path]:
    """Every shipped provider by name."""
    return options.shipped("provider")


def load(choice: str) -> Provider:
    """The provider that `choice` names: `openai`, `openai:MODEL`, `mine.yaml` or `mine.yaml:MODEL`.

    Another model than the file's has no known revision, and no known price unless all are free; the licence
    stays only where the file's family says that one vendor's terms cover every model.

    Raises:
        ConfigError: there is no such provider, or its file says something wrong.
    """
    suspicion.refuse_suspicious_words([f"providers={choice}"])
    named = re.fullmatch(r"(.+\.ya?ml|[^:]*)(?::(.+))?", choice)
    if named is None:
        raise ConfigError(f"providers={choice} is no provider; write NAME, NAME:MODEL or path/mine.yaml")
    name, model = named[1], named[2]
    path = options.located("provider", name, key="providers")
    provider = _read(path)
    if model and model != provider.model:
        provider = _with_model(provider, model)
    provider.check()
    return provider


def _with_model(provider: Provider, model: str) -> Provider:
    free = provider.price_in == 0 == provider.price_out
    one_vendor = provider.base_url is not None and provider.family is not None
    return replace(
        provider,
        model=model,
        revision=None,
        price_in=provider.price_in if free else None,
        price_out=provider.price_out if free else None,
        licence=provider.licence if one_vendor else Licence(),
    )


def load_all(choices: str | Sequence[str]) -> list[Provider]:
    """The providers of a setting: `local`, `openai,anthropic`, `[openai,anthropic]` or a list.

    Raises:
        ConfigError: the list is empty or names one twice, or one of them cannot be loaded.
    """
    if isinstance(choices, str):
        choices = [word.strip() for word in choices.strip("[] ").split(",")]
    choices = [choice for choice in choices if choice]
    if not choices:
        raise ConfigError(f"providers is empty; name some of {', '.join(shipped())}, or a YAML of your own")
    for choice in choices:
        if choices.count(choice) > 1:
            raise ConfigError(f"providers names {choice} twice; name each once")
    return [load(choice) for choice in choices]


def _read(path: Path) -> Provider:
    content = options.content(path)
    for key, value in suspicion.walk(content):
        if isinstance(value, str) and "${" in value:
            raise ConfigError(
                f"{path}: {key} holds ${{...}}, which a provider's file never fills in; write it out"
            )
    if "base_url" not in content:
        raise ConfigError(f"{path}: base_url is missing; give https://HOST/v1, or null for a server here")
    return options.typed(Provider, content, str(path))
