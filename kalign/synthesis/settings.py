"""What a pipeline may say: one dataclass a block; values and their comments stand in conf/pipeline/."""

import difflib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from kalign import runs
from kalign.config import compose, options, suspicion, words
from kalign.config.rules import above, one_of
from kalign.errors import ConfigError
from kalign.judging import Panel, panel
from kalign.providers import Sampling
from kalign.providers.rays import Actors

STRATEGIES = ("emotional", "academic", "roleplay", "pressure", "reasoning")
TRANSPORTS = ("live", "batch", "ray")
DEFAULT = "ko_dpo"


@dataclass(kw_only=True)
class Roles:
    """Which provider plays which part; the target and the panel are named elsewhere."""

    writer: str = ""
    attacker: str = ""
    judge: str = ""
    generators: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class Seeds:
    """How seeds are written, and which are dropped."""

    surplus: float = 3.0
    regenerations: int = 2
    similarity: float = 0.7
    most_held_out: float = 0.2
    embeddings: str | None = None
    embedding_similarity: float = 0.92
    check_category: bool = True

    def check(self) -> None:
        """Raise ConfigError where a value is out of range."""
        above("seeds.surplus", self.surplus, 1, inclusive=True)
        above("seeds.regenerations", self.regenerations, 0, inclusive=True)
        if not 0 < self.similarity <= 1:
            raise ConfigError(
                f"seeds.similarity={self.similarity} is a similarity; use a number above 0, up to 1"
            )
        if not 0 < self.embedding_similarity <= 1:
            raise ConfigError(
                f"seeds.embedding_similarity={self.embedding_similarity} is a cosine; use a number above 0, "
                "up to 1"
            )
        if not 0 <= self.most_held_out <= 1:
            raise ConfigError(f"seeds.most_held_out={self.most_held_out} is a share; use 0 to 1")


@dataclass(kw_only=True)
class Attacking:
    """How far a seed is pressed, and what counts as success."""

    strategies: list[str] = field(default_factory=lambda: [*STRATEGIES])
    tries: int = 5
    samples: int = 2
    success: int = 4


@dataclass(kw_only=True)
class Responding:
    """How many candidates there are for a chosen answer, and the least that it must reach."""

    candidates: int = 3
    least_query: int = 2
    least_safety: int = 4
    least_coherence: int = 3
    shortest: int = 20


@dataclass(kw_only=True)
class Samplings:
    """How each role samples."""

    writer: Sampling = field(default_factory=Sampling)
    attacker: Sampling = field(default_factory=Sampling)
    target: Sampling = field(default_factory=Sampling)
    generator: Sampling = field(default_factory=Sampling)
    judge: Sampling = field(default_factory=Sampling)


@dataclass(kw_only=True)
class Pipeline:
    """One pipeline, resolved."""

    name: str
    pack: str = "ko"
    size: int = 10000
    target: str | None = None
    providers: Any = None  # a name or a list of names
    judge: str = "three"
    seed: int = 42
    as_of: str | None = None
    waves: int = 3
    held_out: list[str] = field(default_factory=list)
    accept_licence_of: list[str] = field(default_factory=list)
    budget: float | None = None
    transport: str = "live"
    poll_seconds: float = 60.0
    ray: Actors = field(default_factory=Actors)
    roles: Roles = field(default_factory=Roles)
    seeds: Seeds = field(default_factory=Seeds)
    attack: Attacking = field(default_factory=Attacking)
    respond: Responding = field(default_factory=Responding)
    sampling: Samplings = field(default_factory=Samplings)

    def check(self) -> None:
        """Raise ConfigError where a value is out of range or contradicts another."""
        words.day("as_of", self.as_of)
        one_of("transport", self.transport, TRANSPORTS)
        if self.budget is not None:
            above("budget", self.budget, 0)
        above("poll_seconds", self.poll_seconds, 0)
        self.ray.check()
        for key, value in (("size", self.size), ("waves", self.waves), ("attack.tries", self.attack.tries)):
            above(key, value, 0)
        for key, value in (
            ("attack.samples", self.attack.samples),
            ("respond.candidates", self.respond.candidates),
            ("respond.shortest", self.respond.shortest),
        ):
            above(key, value, 0)
        self.seeds.check()
        for key, score, most in (
            ("attack.success", self.attack.success, 5),
            ("respond.least_query", self.respond.least_query, 4),
            ("respond.least_safety", self.respond.least_safety, 5),
            ("respond.least_coherence", self.respond.least_coherence, 5),
        ):
            if not 1 <= score <= most:
                raise ConfigError(f"{key}={score} is a score of 1 to {most}; use one of those")
        if not self.attack.strategies:
            raise ConfigError(f"attack.strategies is empty; use some of {', '.join(STRATEGIES)}")
        for strategy in self.attack.strategies:
            one_of("attack.strategies", strategy, STRATEGIES)
        for role in fields(self.sampling):
            getattr(self.sampling, role.name).check(f"sampling.{role.name}")  # fields of this very class

    def determining(self) -> dict[str, Any]:
        """The settings that decide which triplets come out, by dotted key."""
        plain = asdict(self)
        for key in ("budget", "accept_licence_of", "transport", "poll_seconds", "ray"):
            del plain[key]
        return runs.flat(plain)


def load(overrides: Sequence[str]) -> tuple[Pipeline, Panel]:
    """The pipeline and the panel that words ask for, such as pipeline=ko_dpo size=40 judge.rule=majority.

    Raises:
        ConfigError: a word is unknown, or a value is wrong.
    """
    suspicion.refuse_suspicious_words([*overrides])
    given = dict(_split(word) for word in overrides)
    chosen = given.pop("pipeline", DEFAULT)
    path = options.located("pipeline", chosen, key="pipeline")
    panel_words = [
        f"{key.removeprefix('judge.')}={value}" for key, value in given.items() if key.startswith("judge.")
    ]
    own = {key: value for key, value in given.items() if not key.startswith("judge.")}
    for key in own:
        _require_known(key)
    own_words = [f"{key}={value}" for key, value in own.items()]
    pipeline = options.typed(Pipeline, options.content(path), f"pipeline {path.stem}", own_words)
    pipeline.check()
    return pipeline, panel.load(pipeline.judge, panel_words)


def _split(word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not equals:
        raise ConfigError(f"{word!r} is no setting; write KEY=VALUE, such as size=40")
    return key, value


def _require_known(key: str) -> None:
    known = [name for name in compose.every_key(Pipeline) if "*" not in name]
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(known)}"
        raise ConfigError(f"{key} is no setting of a pipeline; {hint}")
