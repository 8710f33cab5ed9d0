"""What a recipe may say: one dataclass for each block, with the rules that a value alone can break.

Values and their comments are in `conf/`; the defaults here are the same ones, so that a recipe is complete
without Hydra too. Names are those of TRL, PEFT and transformers wherever they have one.
"""

import dataclasses
import difflib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kalign.errors import ConfigError

# TRL 1.16's own names (trl.DPOConfig.loss_type); a test compares them with the installed TRL.
LOSS_TYPES = (
    "sigmoid",
    "hinge",
    "ipo",
    "exo_pair",
    "nca_pair",
    "robust",
    "bco_pair",
    "sppo_hard",
    "aot",
    "aot_unpaired",
    "apo_zero",
    "apo_down",
    "discopop",
    "sft",
    "sigmoid_norm",
)
F_DIVERGENCES = ("reverse_kl", "forward_kl", "js_divergence", "alpha_divergence")
F_DIVERGENCE_LOSSES = ("sigmoid", "sigmoid_norm", "hinge", "ipo", "exo_pair", "robust", "discopop", "sft")
SMOOTHED_LOSSES = ("exo_pair", "robust")  # the only ones that read label_smoothing
FORMATS = ("preference", "square")
COMMIT = re.compile(r"[0-9a-f]{40}")
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


def one_of(key: str, value: str, known: tuple[str, ...]) -> None:
    """Refuse a `value` that is not among `known`, with the nearest one.

    Raises:
        ConfigError: it is not.
    """
    if value not in known:
        near = difflib.get_close_matches(value, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(known)}"
        raise ConfigError(f"{key}={value} is unknown; {hint}")


def above(key: str, value: float, bound: float, *, inclusive: bool = False) -> None:
    """Refuse a `value` that is not above `bound`.

    Raises:
        ConfigError: it is not, or is no number.
    """
    if not (value >= bound if inclusive else value > bound):
        raise ConfigError(f"{key}={value} must be {'at least' if inclusive else 'above'} {bound:g}")


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


@dataclass(kw_only=True)
class Columns:
    """Under which names a source keeps its fields; null where it has none."""

    prompt: str | None = "prompt"
    chosen: str = "chosen"
    rejected: str = "rejected"
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


@dataclass(kw_only=True)
class Quantization:
    """How the frozen base is stored, by bitsandbytes' names; `load_in_4bit: false` leaves it in
    `model.dtype`."""

    load_in_4bit: bool = False
    bnb_4bit_quant_type: str = "nf4"
    bnb_4bit_use_double_quant: bool = True
    bnb_4bit_compute_dtype: str = "bfloat16"

    def check(self) -> None:
        """Raise ConfigError where a value is unknown."""
        one_of("adapter.quantization.bnb_4bit_quant_type", self.bnb_4bit_quant_type, ("nf4", "fp4"))
        dtypes = ("float32", "bfloat16", "float16")
        one_of("adapter.quantization.bnb_4bit_compute_dtype", self.bnb_4bit_compute_dtype, dtypes)


@dataclass(kw_only=True)
class Adapter:
    """The low-rank update that is trained, by PEFT's own names; the base weights stay frozen."""

    r: int = 16
    lora_alpha: int = 16
    lora_dropout: float = 0.05
    target_modules: Any = field(default_factory=lambda: list(PROJECTIONS))  # names, or one regex
    use_rslora: bool = False
    use_dora: bool = False
    quantization: Quantization = field(default_factory=Quantization)

    def check(self) -> None:
        """Raise ConfigError where the block contradicts itself."""
        above("adapter.r", self.r, 0)
        above("adapter.lora_alpha", self.lora_alpha, 0)
        if not 0 <= self.lora_dropout < 1:
            raise ConfigError(
                f"adapter.lora_dropout={self.lora_dropout} is a probability; use 0 up to but not 1"
            )
        if not self.target_modules:
            raise ConfigError(
                "adapter.target_modules is empty, so nothing would be trained; name at least one"
            )
        if any("lm_head" in name for name in self.targets()):
            raise ConfigError(
                "adapter.target_modules names lm_head, which TRL's log-prob head never reads; remove it"
            )
        if isinstance(self.target_modules, str):
            try:
                re.compile(self.target_modules)
            except re.error as wrong:
                raise ConfigError(
                    f"adapter.target_modules={self.target_modules} is no regular expression ({wrong}); mend "
                    "it, or give a list of names"
                ) from wrong
        self.quantization.check()

    def targets(self) -> list[str]:
        """The names of the layers that are adapted, or the one regex that must match a layer's whole path."""
        named = self.target_modules if isinstance(self.target_modules, list) else [self.target_modules]
        return [str(name) for name in named]


@dataclass(kw_only=True)
class Loss:
    """The preference loss, by TRL's own names."""

    loss_type: Any = "sigmoid"  # a name, or a list of names whose losses are added up
    loss_weights: list[float] | None = None
    beta: float = 0.1
    ld_alpha: float | None = None
    label_smoothing: float = 0.0
    f_divergence_type: str = "reverse_kl"
    f_alpha_divergence_coef: float = 0.5
    discopop_tau: float = 0.05
    use_weighting: bool = False

    def check(self) -> None:
        """Raise ConfigError for an unknown loss, or an option that the chosen losses would ignore."""
        if not self.losses():
            raise ConfigError("loss.loss_type is empty; name at least one loss, such as sigmoid")
        for name in self.losses():
            one_of("loss.loss_type", name, LOSS_TYPES)
        if self.loss_weights is not None and len(self.loss_weights) != len(self.losses()):
            raise ConfigError(
                f"loss.loss_weights has {len(self.loss_weights)} weights for {len(self.losses())} losses; "
                "give one each"
            )
        above("loss.beta", self.beta, 0)
        self._check_divergence()
        self._check_smoothing()
        if self.ld_alpha is not None and not 0 <= self.ld_alpha <= 1:
            raise ConfigError(
                f"loss.ld_alpha={self.ld_alpha} weighs the longer answer's tail; use 0 to 1, or null"
            )
        if self.use_weighting and {"aot", "aot_unpaired"} & set(self.losses()):
            raise ConfigError(
                "loss.use_weighting=true cannot go with aot losses, which sort the pairs; choose one"
            )

    def losses(self) -> list[str]:
        """The names of the losses that are added up; one alone may be written without brackets."""
        named = self.loss_type if isinstance(self.loss_type, list) else [self.loss_type]
        return [str(name) for name in named]

    def _check_divergence(self) -> None:
        one_of("loss.f_divergence_type", self.f_divergence_type, F_DIVERGENCES)
        unfit = sorted(set(self.losses()) - set(F_DIVERGENCE_LOSSES))
        if self.f_divergence_type != "reverse_kl" and unfit:
            raise ConfigError(
                f"loss.f_divergence_type={self.f_divergence_type} has no meaning for {', '.join(unfit)}; "
                "use reverse_kl"
            )

    def _check_smoothing(self) -> None:
        smoothed = set(self.losses()) & set(SMOOTHED_LOSSES)
        if self.label_smoothing and not smoothed:
            raise ConfigError(
                f"loss.label_smoothing={self.label_smoothing} is ignored by {', '.join(self.losses())}; use "
                "0, or "
                "loss.loss_type=[robust]"
            )
        if not 0 <= self.label_smoothing < 0.5:
            raise ConfigError(f"loss.label_smoothing={self.label_smoothing} must be at least 0 and below 0.5")
        if "exo_pair" in smoothed and not self.label_smoothing:
            raise ConfigError(
                "loss.loss_type=exo_pair needs loss.label_smoothing above 0; its paper recommends 0.001"
            )


@dataclass(kw_only=True)
class Trainer:
    """How long and how fast, by the Trainer's own names; `pairs_per_step` is ours."""

    pairs_per_step: int = 32
    per_device_train_batch_size: int = 1
    per_device_eval_batch_size: int = 2
    num_train_epochs: float = 1.0
    max_steps: int = -1
    learning_rate: float = 2e-5
    lr_scheduler_type: str = "cosine"
    warmup_steps: float = 0.1
    optim: str = "adamw_torch"
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    bf16: bool = True
    gradient_checkpointing: bool = True
    seed: int = 42
    logging_steps: int = 5
    eval_strategy: str = "steps"
    eval_steps: int = 50
    save_steps: int = 50
    save_total_limit: int = 2
    dataloader_num_workers: int = 0

    def check(self) -> None:
        """Raise ConfigError where a value is out of range."""
        for key in (
            "pairs_per_step",
            "per_device_train_batch_size",
            "per_device_eval_batch_size",
            "num_train_epochs",
        ):
            above(f"trainer.{key}", getattr(self, key), 0)  # checked by name, one rule for all
        for key in ("logging_steps", "eval_steps", "save_steps", "save_total_limit"):
            above(f"trainer.{key}", getattr(self, key), 0)
        above("trainer.learning_rate", self.learning_rate, 0)
        one_of("trainer.eval_strategy", self.eval_strategy, ("no", "steps", "epoch"))
        if self.max_steps == 0 or self.max_steps < -1:
            raise ConfigError(
                f"trainer.max_steps={self.max_steps} trains nothing; use -1 for whole epochs, or 1 and more"
            )
        self.accumulation(world_size=1)

    def accumulation(self, world_size: int) -> int:
        """Forward passes per optimizer step on each of `world_size` devices.

        Raises:
            ConfigError: the step cannot be split evenly.
        """
        at_once = self.per_device_train_batch_size * world_size
        passes, left = divmod(self.pairs_per_step, at_once)
        if left or not passes:
            low = max(passes, 1) * at_once
            raise ConfigError(
                f"trainer.pairs_per_step={self.pairs_per_step} is no multiple of {at_once}, the pairs that "
                f"{world_size} device(s) take at once; use {low} or {low + at_once}"
            )
        return passes


@dataclass(kw_only=True)
class Tracker:
    """Where the curves go besides the run folder."""

    name: str = "none"
    project: str = "kalign"
    group: str | None = None
    mode: str = "online"

    def check(self) -> None:
        """Raise ConfigError where a value is unknown."""
        one_of("tracker.name", self.name, ("none", "wandb", "tensorboard"))
        one_of("tracker.mode", self.mode, ("online", "offline"))


@dataclass(kw_only=True)
class Evaluation:
    """What is shown of the model before and after training, on held-out prompts."""

    generations: int = 3
    held_out_prompts: bool = False
    max_new_tokens: int = 128

    def check(self) -> None:
        """Raise ConfigError where a value is out of range."""
        above("evaluation.generations", self.generations, 0, inclusive=True)
        above("evaluation.max_new_tokens", self.max_new_tokens, 0)


@dataclass(kw_only=True)
class Recipe:
    """One runnable result: which model, data, adapter, loss, trainer and evaluation."""

    name: str = "unnamed"
    pack: str = "ko"
    model: Model = field(default_factory=Model)
    data: Data = field(default_factory=Data)
    adapter: Adapter = field(default_factory=Adapter)
    loss: Loss = field(default_factory=Loss)
    trainer: Trainer = field(default_factory=Trainer)
    evaluation: Evaluation = field(default_factory=Evaluation)
    tracker: Tracker = field(default_factory=Tracker)
    runs_dir: str = "runs"

    def check(self) -> None:
        """Raise ConfigError where a block, or two of them together, contradict themselves."""
        if not re.fullmatch(r"[\w.-]+", self.name):
            raise ConfigError(
                f"name={self.name!r} becomes a folder's name; use letters, digits, '.', '_' and '-'"
            )
        if not self.pack.strip():
            raise ConfigError("pack is empty; name a bundled pack, such as pack=ko, or a folder of your own")
        for block in (
            self.model,
            self.data,
            self.adapter,
            self.loss,
            self.trainer,
            self.evaluation,
            self.tracker,
        ):
            block.check()
        if not self.data.eval_share and self.trainer.eval_strategy != "no":
            raise ConfigError(
                f"data.eval_share=0 leaves nothing for trainer.eval_strategy={self.trainer.eval_strategy}; "
                "use "
                "trainer.eval_strategy=no, or hold some pairs out"
            )

    def determining(self) -> dict[str, Any]:
        """The settings that decide what a run finds out: all but where it lies and how often it reports and
        saves."""
        plain = dataclasses.asdict(self)
        for key in ("runs_dir", "tracker"):
            del plain[key]
        for key in ("logging_steps", "save_steps", "save_total_limit", "dataloader_num_workers"):
            del plain["trainer"][key]
        del plain["model"]["licence"], plain["data"]["accept_licence_of"]  # duties, not numbers
        return plain

    def runs_path(self) -> Path:
        """The folder that holds all run folders."""
        return Path(self.runs_dir).expanduser()
