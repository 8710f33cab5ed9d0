"""What a recipe may say: one dataclass for each block, with the rules that a value alone can break.

Values and their comments are in `conf/`; the defaults here are the same ones, so that a recipe is complete
without Hydra too. Names are those of TRL, PEFT and transformers wherever they have one.
"""

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kalign.config.associations import Associations, Reward, Sft
from kalign.config.data import Data, Source
from kalign.config.model import Model
from kalign.config.rules import above, one_of
from kalign.config.training import BATCH_LOSSES, Adapter, Guards, Loss, Trainer
from kalign.errors import ConfigError

# Settings of the trainer that decide nothing of what a run finds out
NEUTRAL = (
    "logging_steps",
    "save_steps",
    "save_total_limit",
    "dataloader_num_workers",
    "ddp_timeout",
    "gradient_checkpointing",  # computes the same numbers twice
)
# What a method does not read is no part of what determines its runs
UNREAD = {
    "dpo": ("method", "associations", "sft", "reward"),
    "sft": ("loss", "reward"),
    "rloo": ("loss", "sft"),
    "grpo": ("loss", "sft"),
}
# Whether a method learns from data.format=associations
TAKES_ASSOCIATIONS = {"dpo": (False,), "sft": (True, False), "rloo": (True,), "grpo": (True,)}


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
    panel_every: int = 0
    panel_prompts: int = 24

    def check(self) -> None:
        """Raise ConfigError where a value is out of range."""
        above("evaluation.generations", self.generations, 0, inclusive=True)
        above("evaluation.max_new_tokens", self.max_new_tokens, 0)
        above("evaluation.panel_every", self.panel_every, 0, inclusive=True)
        above("evaluation.panel_prompts", self.panel_prompts, 2, inclusive=True)


@dataclass(kw_only=True)
class Recipe:
    """One runnable result: which model, data, adapter, loss, trainer and evaluation."""

    name: str = "unnamed"
    method: str = "dpo"
    pack: str = "ko"
    model: Model = field(default_factory=Model)
    data: Data = field(default_factory=Data)
    associations: Associations = field(default_factory=Associations)
    adapter: Adapter = field(default_factory=Adapter)
    loss: Loss = field(default_factory=Loss)
    sft: Sft = field(default_factory=Sft)
    reward: Reward = field(default_factory=Reward)
    trainer: Trainer = field(default_factory=Trainer)
    evaluation: Evaluation = field(default_factory=Evaluation)
    guards: Guards = field(default_factory=Guards)
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
            self.associations,
            self.adapter,
            self.loss,
            self.sft,
            self.reward,
            self.trainer,
            self.evaluation,
            self.guards,
            self.tracker,
        ):
            block.check()
        self._check_method()
        if not self.data.eval_share and self.trainer.eval_strategy != "no":
            raise ConfigError(
                f"data.eval_share=0 leaves nothing for trainer.eval_strategy={self.trainer.eval_strategy}; "
                "use trainer.eval_strategy=no, or hold some pairs out"
            )
        self._check_markers()
        self._check_micro_batches()

    def _check_micro_batches(self) -> None:
        budget = self.trainer.tokens_per_micro_batch
        if budget is None:
            return
        if self.method != "dpo":
            raise ConfigError(
                f"trainer.tokens_per_micro_batch={budget} deals pairs, which method={self.method} has none "
                "of; use trainer.per_device_train_batch_size"
            )
        if unfit := [name for name in self.loss.losses() if name in BATCH_LOSSES]:
            raise ConfigError(
                f"trainer.tokens_per_micro_batch={budget} would change loss.loss_type={unfit[0]}, which is "
                "no mean over pairs; use trainer.per_device_train_batch_size"
            )

    def _check_markers(self) -> None:
        markers = self.data.markers
        if markers.mode == "inferred" and self.method == "dpo" and "sft" not in self.loss.losses():
            raise ConfigError(
                "data.markers.mode=inferred needs a model that writes markers, and both answers of a pair "
                "begin with the same, so that no preference teaches them; use loss.loss_type=[sigmoid,sft]"
            )
        if self.evaluation.held_out_prompts and markers.mode == "fixed" and not markers.fixed:
            raise ConfigError(
                "evaluation.held_out_prompts=true has no tags of its own for data.markers.mode=fixed; give "
                "data.markers.fixed={lang:ko}, or evaluation.held_out_prompts=false"
            )

    def _check_method(self) -> None:
        one_of("method", self.method, tuple(UNREAD))
        if self.method != "dpo" and self.trainer.gradient_checkpointing == "auto":
            raise ConfigError(
                f"trainer.gradient_checkpointing=auto weighs pairs, which method={self.method} has none of; "
                "use true or false"
            )
        if (self.data.format == "associations") not in TAKES_ASSOCIATIONS[self.method]:
            raise ConfigError(
                f"method={self.method} cannot learn from data.format={self.data.format}: dpo takes pairs, "
                "rloo and grpo take associations (data=associations), sft takes either; 'kalign norms "
                "pairs' makes pairs of norms"
            )
        if self.method == "dpo" and any(each.columns.rejected is None for each in self._read()):
            raise ConfigError(
                "method=dpo needs a worse answer beside each one, and data.columns.rejected is null; name "
                "its column, or learn the answers alone with method=sft"
            )
        if self.method != "dpo" and self.evaluation.panel_every:
            raise ConfigError(
                f"evaluation.panel_every={self.evaluation.panel_every} asks a pack's prompts while pairs are "
                f"learned, and method={self.method} learns none; use evaluation.panel_every=0"
            )
        if self.method != "dpo" and self.guards.collapse in ("checkpoint", "stop"):
            raise ConfigError(
                f"guards.collapse={self.guards.collapse} looks at rewards of pairs and at the panel, and "
                f"method={self.method} has neither; use guards.collapse=none"
            )
        if self.method not in ("rloo", "grpo"):
            return
        if (self.reward.name == "strength_recall") != (self.associations.task == "generation"):
            raise ConfigError(
                f"reward.name={self.reward.name} cannot judge associations.task={self.associations.task}; "
                "rankings take spearman_strict, spearman_compat or kendall, lists of words strength_recall"
            )
        if self.trainer.pairs_per_step % self.reward.num_generations:
            raise ConfigError(
                f"trainer.pairs_per_step={self.trainer.pairs_per_step} counts completions, and is no "
                f"multiple of reward.num_generations={self.reward.num_generations}"
            )

    def _read(self) -> list[Source]:
        return list(self.data.mix.values()) or [self.data]

    def determining(self) -> dict[str, Any]:
        """The settings that decide what a run finds out: all but where it lies and how often it reports and
        saves."""
        plain = dataclasses.asdict(self)
        for key in ("runs_dir", "tracker", "guards"):  # guards say when to stop, not what is learned
            del plain[key]
        for key in NEUTRAL:
            del plain["trainer"][key]
        for key in UNREAD[self.method]:
            del plain[key]
        if self.data.format != "associations":
            plain.pop("associations", None)
        del plain["model"]["licence"], plain["data"]["accept_licence_of"]  # duties, not numbers
        return plain

    def runs_path(self) -> Path:
        """The folder that holds all run folders."""
        return Path(self.runs_dir).expanduser()
