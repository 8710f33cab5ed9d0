"""Settings of the model: which weights, under which licence, and what their chat template promises."""

from dataclasses import dataclass, field
from typing import Any

from kalign.config.rules import COMMIT, above, one_of
from kalign.errors import ConfigError

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
# What becomes of a system message: a turn of its own, text in front of the first user turn, or an error
SYSTEM_POLICIES = ("turn", "merged", "refused")
# What transformers' apply_chat_template takes for itself
RENDERING = {
    "messages",
    "conversation",
    "tokenize",
    "add_generation_prompt",
    "continue_final_message",
    "chat_template",
    "strftime_now",
}


@dataclass(kw_only=True)
class Licence:
    """What a model's licence asks of whoever trains it; `name: null` means that kalign does not know it."""

    name: str | None = None
    url: str | None = None
    gated: bool = False
    name_prefix: str | None = None
    notice: str | None = None
    may_train_others: bool = True

    def check(self) -> None:
        """Raise ConfigError where the block contradicts itself."""
        if self.name is None and (self.name_prefix or self.notice or not self.may_train_others):
            raise ConfigError("model.licence has terms but no name; give model.licence.name")

    def sentence(self) -> str:
        """One line about the licence, for a screen or a file."""
        if self.name is None:
            return "Licence of the base: not known to kalign; read it before you pass anything on."
        said = f"Licence of the base: {self.name}" + (f" ({self.url})" if self.url else "")
        if self.gated:
            said += "; its owner must have given you access"
        if self.name_prefix:
            said += f"; the name of what you derive from it must begin with {self.name_prefix!r}"
        if self.notice:
            said += f"; {self.notice}"
        if not self.may_train_others:
            said += "; neither it nor what it says may improve other models"
        return said + "."


@dataclass(kw_only=True)
class Model:
    """Which weights, how they are loaded, and what their chat template promises."""

    repo: str | None = None
    revision: str | None = None
    dtype: str = "bfloat16"
    attn_implementation: str = "sdpa"
    trust_remote_code: bool = False
    family: str | None = None
    twin: bool = False
    target_modules: Any = field(default_factory=lambda: list(PROJECTIONS))  # names, or one regex
    pad_token: str | None = None
    bos_count: int | None = None
    turn_end: str | None = None
    system: str | None = None
    default_system: str | None = None
    trims: bool | None = None
    generation_prompt: str | None = None
    template_kwargs: dict[str, str] = field(default_factory=dict)
    template_sha256: str | None = None
    licence: Licence = field(default_factory=Licence)

    def check(self) -> None:
        """Raise ConfigError where the block contradicts itself."""
        self.licence.check()
        one_of("model.dtype", self.dtype, ("float32", "bfloat16", "float16"))
        if self.bos_count is not None:
            above("model.bos_count", self.bos_count, 0, inclusive=True)
        if self.twin and self.family is None:
            raise ConfigError(
                "model.twin=true needs to know whose twin; choose a model that has one, such as model=qwen"
            )
        self._check_template()
        if self.trust_remote_code and not COMMIT.fullmatch(self.revision or ""):
            raise ConfigError(
                "model.trust_remote_code=true needs the exact code it trusts, but "
                f"model.revision={self.revision} is no "
                "commit of 40 hex digits; pin it (a refused local folder prints its own)"
            )

    def _check_template(self) -> None:
        if self.pad_token is not None and self.pad_token == self.turn_end:
            raise ConfigError(
                f"model.pad_token={self.pad_token} is model.turn_end too, so what fills short rows would "
                "end them; name a token that never stands in text"
            )
        if self.system is not None:
            one_of("model.system", self.system, SYSTEM_POLICIES)
        if self.default_system is not None and self.system != "turn":
            raise ConfigError(
                f"model.default_system={self.default_system!r} needs model.system=turn, not {self.system}"
            )
        if reserved := sorted(RENDERING & set(self.template_kwargs)):
            raise ConfigError(
                f"model.template_kwargs sets {', '.join(reserved)}, which kalign decides; remove it"
            )
