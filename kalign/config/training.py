"""Settings of adapter, loss and trainer, by PEFT's, TRL's and transformers' own names."""

import re
from dataclasses import asdict, dataclass, field
from typing import Any

from kalign.config import optimization
from kalign.config.model import PROJECTIONS
from kalign.config.rules import above, one_of
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
BATCH_LOSSES = ("aot", "aot_unpaired", "sft")  # no mean over pairs, so a micro-batch's pairs decide them


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

    def lora(self) -> dict[str, Any]:
        """What PEFT's LoraConfig is told."""
        told = asdict(self)
        del told["quantization"]
        return told


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
    """How long and how fast, by the Trainer's own names; `pairs_per_step`, `tokens_per_micro_batch`,
    `shared_prefix` and `reference_store` are ours."""

    pairs_per_step: int = 32
    per_device_train_batch_size: int = 1
    tokens_per_micro_batch: int | None = None
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
    gradient_checkpointing: Any = True  # or false, or auto
    shared_prefix: bool = True
    reference_store: bool = True
    seed: int = 42
    logging_steps: int = 5
    eval_strategy: str = "steps"
    eval_steps: int = 50
    save_steps: int = 50
    save_total_limit: int = 2
    dataloader_num_workers: int = 0
    ddp_timeout: int = 1800

    def check(self) -> None:
        """Raise ConfigError where a value is out of range."""
        for key in (
            "pairs_per_step",
            "per_device_train_batch_size",
            "per_device_eval_batch_size",
            "num_train_epochs",
        ):
            above(f"trainer.{key}", getattr(self, key), 0)  # checked by name, one rule for all
        for key in ("logging_steps", "eval_steps", "save_steps", "save_total_limit", "ddp_timeout"):
            above(f"trainer.{key}", getattr(self, key), 0)
        for key in ("warmup_steps", "weight_decay", "max_grad_norm", "dataloader_num_workers", "seed"):
            above(f"trainer.{key}", getattr(self, key), 0, inclusive=True)
        optimization.check(self.optim, self.lr_scheduler_type)
        above("trainer.learning_rate", self.learning_rate, 0)
        if self.gradient_checkpointing not in (
            True,
            False,
            "auto",
        ):  # nor 'false', a text that counts as true
            said = repr(self.gradient_checkpointing)
            one_of("trainer.gradient_checkpointing", said, ("true", "false", "auto"))
        one_of("trainer.eval_strategy", self.eval_strategy, ("no", "steps", "epoch"))
        if self.max_steps == 0 or self.max_steps < -1:
            raise ConfigError(
                f"trainer.max_steps={self.max_steps} trains nothing; use -1 for whole epochs, or 1 and more"
            )
        self._check_budget()
        self.accumulation(world_size=1)

    def _check_budget(self) -> None:
        if self.tokens_per_micro_batch is None:
            return
        above("trainer.tokens_per_micro_batch", self.tokens_per_micro_batch, 0)
        if not self.shared_prefix:
            raise ConfigError(
                f"trainer.tokens_per_micro_batch={self.tokens_per_micro_batch} counts tokens of rows without "
                "padding, and trainer.shared_prefix=false pads them; leave one of the two away"
            )

    def accumulation(self, world_size: int) -> int:
        """Forward passes per optimizer step on each of `world_size` devices; with a budget of tokens, the
        most there may be.

        Raises:
            ConfigError: the step cannot be split evenly.
        """
        each = 1 if self.tokens_per_micro_batch else self.per_device_train_batch_size
        at_once = each * world_size
        passes, left = divmod(self.pairs_per_step, at_once)
        if left or not passes:
            low = max(passes, 1) * at_once
            raise ConfigError(
                f"trainer.pairs_per_step={self.pairs_per_step} is no multiple of {at_once}, the pairs that "
                f"{world_size} device(s) take at once; use {low} or {low + at_once}"
            )
        return passes


@dataclass(kw_only=True)
class Guards:
    """When a training by preferences has collapsed, and what is done then; None switches a rule off."""

    collapse: str = "warn"
    window: int = 3
    max_chosen_fall: float | None = 1.0
    max_margin: float | None = 20.0
    max_length_growth: float | None = 3.0
    max_cut_off_rise: float | None = 0.5
    max_benign_refused_rise: float | None = 0.25

    def check(self) -> None:
        """Raise ConfigError where a value is unknown or out of range."""
        one_of("guards.collapse", self.collapse, ("none", "warn", "checkpoint", "stop"))
        above("guards.window", self.window, 0)
        for key, bound in (
            ("max_chosen_fall", self.max_chosen_fall),
            ("max_margin", self.max_margin),
            ("max_cut_off_rise", self.max_cut_off_rise),
            ("max_benign_refused_rise", self.max_benign_refused_rise),
        ):
            if bound is not None:
                above(f"guards.{key}", bound, 0)
        if self.max_length_growth is not None:
            above("guards.max_length_growth", self.max_length_growth, 1)
