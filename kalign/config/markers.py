"""Settings of tags in training: which pairs are chosen by them, and which markers stand in the texts."""

from dataclasses import dataclass, field

from kalign.config.rules import above, one_of
from kalign.errors import ConfigError

DIMENSIONS = ("culture", "domain", "task", "geo", "lang")
ARMS = ("none", "markers", "more_cultural_data")
MODES = ("none", "inferred", "fixed")


@dataclass(kw_only=True)
class Selection:
    """Which pairs are trained on, and how often, by one dimension of the tags of their prompts."""

    by: str = "culture"
    keep: list[str] = field(default_factory=list)
    shares: dict[str, float] = field(default_factory=dict)

    def check(self) -> None:
        """Raise ConfigError where the shares cannot be."""
        one_of("data.selection.by", self.by, DIMENSIONS)
        for value, share in self.shares.items():
            above(f"data.selection.shares.{value}", share, 0, inclusive=True)
        if (total := sum(self.shares.values())) > 1 + 1e-9:
            raise ConfigError(
                f"data.selection.shares add up to {total:g}; what is not named gets the rest of 1"
            )


@dataclass(kw_only=True)
class Markers:
    """Which arm of a study this is, and where markers stand."""

    arm: str = "none"
    dimensions: list[str] = field(default_factory=lambda: list(DIMENSIONS))
    completion: bool = False
    dataset_dropout: float = 0.5
    sample_dropout: float = 0.5
    cultural_share: float = 0.5
    mode: str = "none"
    fixed: dict[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Raise ConfigError where the block contradicts itself."""
        one_of("data.markers.arm", self.arm, ARMS)
        one_of("data.markers.mode", self.mode, MODES)
        if not self.dimensions or len(set(self.dimensions)) < len(self.dimensions):
            raise ConfigError(
                f"data.markers.dimensions={self.dimensions} must name each of some dimensions once; use some "
                f"of {', '.join(DIMENSIONS)}"
            )
        for name in (*self.dimensions, *self.fixed):
            one_of("data.markers.dimensions and data.markers.fixed: dimension", name, DIMENSIONS)
        for key, share in (
            ("dataset_dropout", self.dataset_dropout),
            ("sample_dropout", self.sample_dropout),
            ("cultural_share", self.cultural_share),
        ):
            if not 0 <= share <= 1:
                raise ConfigError(f"data.markers.{key}={share} is a share; use 0 to 1")
        if self.mode == "inferred" and not (self.arm == "markers" and self.completion):
            raise ConfigError(
                "data.markers.mode=inferred reads markers that the model writes, which it learns with "
                "data.markers.arm=markers data.markers.completion=true only; set both, or another mode"
            )
        if self.fixed and self.mode != "fixed":
            raise ConfigError(
                f"data.markers.fixed is read in mode fixed only, and data.markers.mode={self.mode}; set "
                "data.markers.mode=fixed, or leave it empty"
            )
