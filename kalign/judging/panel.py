"""A panel of judges as conf/judge/ or a file of one's own describes it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kalign import runs
from kalign.config import options
from kalign.errors import ConfigError
from kalign.judging.quorum import needed
from kalign.providers import Provider, Sampling, load_all


@dataclass(kw_only=True)
class Panel:
    """Who judges, and when they have decided; values and their comments stand in conf/judge/."""

    name: str
    judges: list[str] = field(default_factory=list)  # providers, as NAME, NAME:MODEL or path/mine.yaml
    rule: str = "unanimous"
    least_coverage: float = 0.98
    canaries: bool = True
    most_fooled: float = 0.1
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.0, max_tokens=512))

    def check(self) -> None:
        """Raise ConfigError where the panel cannot decide, or a value is out of range."""
        if not self.judges:
            raise ConfigError(f"judge={self.name} names no judges; give judges=[openai,gemini]")
        needed(self.rule, len(self.judges))
        for key, share in (("least_coverage", self.least_coverage), ("most_fooled", self.most_fooled)):
            if not 0 <= share <= 1:
                raise ConfigError(f"judge.{key}={share} is a share; use 0 to 1")
        self.sampling.check("judge.sampling")

    def determining(self) -> dict[str, Any]:
        """The settings that decide what the panel says, by dotted key."""
        plain = asdict(self)
        for key in ("canaries", "most_fooled"):
            del plain[key]
        return runs.flat(plain)

    def providers(self) -> list[Provider]:
        """The judges as providers.

        Raises:
            ConfigError: one of them is unknown.
        """
        return load_all(self.judges)


def shipped() -> dict[str, Path]:
    """Every shipped panel by name."""
    return options.shipped("judge")


def load(name: str, overrides: Sequence[str] = ()) -> Panel:
    """The panel of that name, or of a YAML file; `overrides` are words such as rule=majority.

    Raises:
        ConfigError: there is none, or it says something wrong.
    """
    path = options.located("judge", name, key="judge")
    panel = options.typed(Panel, options.content(path), str(path), overrides)
    panel.check()
    return panel


def kin(judges: Sequence[Provider], generators: Sequence[Provider]) -> list[str]:
    """Families that judge what they wrote themselves, in order of their first judge."""
    written = {generator.kin for generator in generators}
    return list(dict.fromkeys(judge.kin for judge in judges if judge.kin in written))
