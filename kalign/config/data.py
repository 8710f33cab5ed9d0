"""Settings of the data: where pairs come from, under which columns, and what happens to them."""

import dataclasses
from dataclasses import dataclass, field

from kalign.config.markers import Markers, Selection
from kalign.config.rules import COMMIT, above, one_of
from kalign.errors import ConfigError

FORMATS = ("preference", "square", "associations")


@dataclass(kw_only=True)
class Columns:
    """Under which names a source keeps its fields; null where it has none."""

    prompt: str | None = "prompt"
    chosen: str = "chosen"
    rejected: str | None = "rejected"
    family: str | None = None
    target: str | None = None

    def check(self, block: str) -> None:
        """Raise ConfigError where two fields would be read from one column."""
        named = [name for name in (self.prompt, self.chosen, self.rejected) if name is not None]
        if len(set(named)) < len(named):
            raise ConfigError(
                f"{block}.columns reads two fields from one column ({', '.join(named)}); name each once"
            )
        if self.chosen == "rejected" or self.rejected == "chosen":
            raise ConfigError(
                f"{block}.columns takes chosen from {self.chosen!r} and rejected from {self.rejected!r}, "
                "which swaps good "
                "and bad answers; rename the columns in the file if its labels really are reversed"
            )


@dataclass(kw_only=True)
class Source:
    """One place that preference pairs come from."""

    path: str | None = None
    format: str = "preference"
    revision: str | None = None
    subset: str | None = None
    split: str = "train"
    columns: Columns = field(default_factory=Columns)
    weight: float = 1.0

    def check(self, block: str) -> None:
        """Raise ConfigError where the source, written under the key `block`, contradicts itself."""
        one_of(f"{block}.format", self.format, FORMATS)
        above(f"{block}.weight", self.weight, 0)
        self.columns.check(block)
        if (self.path or "").startswith("hub:") and not COMMIT.fullmatch(self.revision or ""):
            raise ConfigError(
                f"{block}.path={self.path} is a Hub data set, but {block}.revision={self.revision} is no "
                "commit of "
                "40 hex digits; pin it, or the same command would read other rows tomorrow"
            )


@dataclass(kw_only=True)
class Data(Source):
    """Which pairs are trained on, which are held out, and what happens to those that do not fit."""

    mix: dict[str, Source] = field(default_factory=dict)
    max_length: int = 1024
    on_overflow: str = "drop"
    control_tokens: str = "literal"
    max_drop_share: float = 0.01
    eval_share: float = 0.1
    seed: int = 42
    accept_licence_of: list[str] = field(default_factory=list)
    tags: str | None = None
    selection: Selection = field(default_factory=Selection)
    markers: Markers = field(default_factory=Markers)

    def check(self, block: str = "data") -> None:
        """Raise ConfigError where the block contradicts itself."""
        super().check(block)
        for name, source in self.mix.items():
            source.check(f"{block}.mix.{name}")
        if self.mix and self.path:
            raise ConfigError(
                f"{block}.path={self.path} and {block}.mix are both given; put the file into the mix"
            )
        above(f"{block}.max_length", self.max_length, 1)
        one_of(f"{block}.on_overflow", self.on_overflow, ("drop", "truncate"))
        one_of(f"{block}.control_tokens", self.control_tokens, ("literal", "drop"))
        for key, share in (("max_drop_share", self.max_drop_share), ("eval_share", self.eval_share)):
            if not 0 <= share < 1:
                raise ConfigError(
                    f"{block}.{key}={share} is a share of the pairs; use 0 up to but not including 1"
                )

        self.selection.check()
        self.markers.check()
        self._check_tags()

    def _check_tags(self) -> None:
        chosen = bool(self.selection.keep or self.selection.shares)
        if self.tags is None and (chosen or self.markers.arm != "none"):
            raise ConfigError(
                f"data.markers.arm={self.markers.arm} and data.selection read tags, and data.tags is not "
                "set; run kalign tag data.path=... out=DIR, and give data.tags=DIR"
            )
        if self.tags is None and self.markers.mode == "fixed" and not self.markers.fixed:
            raise ConfigError(
                "data.markers.mode=fixed has no markers; give data.markers.fixed={lang:ko}, or data.tags, "
                "which gives each held-out pair its own"
            )
        if self.selection.shares and self.markers.arm == "more_cultural_data":
            raise ConfigError(
                "data.markers.arm=more_cultural_data sets shares itself (data.markers.cultural_share); leave "
                "data.selection.shares empty"
            )

    def sources(self) -> dict[str, Source]:
        """The sources by name: those of the mix, or the one that `path` names.

        Raises:
            ConfigError: there is none.
        """
        if self.mix:
            return self.mix
        if not self.path:
            raise ConfigError(
                "data.path is not set; give data.path=FILE, a folder, pack:NAME or hub:OWNER/NAME"
            )
        own = {
            part.name: getattr(self, part.name) for part in dataclasses.fields(Source)
        }  # the inherited fields
        return {"data": Source(**own)}
