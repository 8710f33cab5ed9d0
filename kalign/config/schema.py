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
from kalign.config.data import Data
from kalign.config.model import Model
from kalign.config.rules import above, one_of
from kalign.config.training import Adapter, Guards, Loss, Trainer
from kalign.errors import ConfigError

# Settings of the trainer that decide nothing of what a run finds out
NEUTRAL = ("logging_steps", "save_steps", "save_total_limit", "dataloader_num_workers", "ddp_timeout")
# What a method does not read is no part of what determines its runs
UNREAD = {
    "dpo": ("method", "associations", "sft", "reward"),
    "sft": ("loss", "reward"),
    "rloo": ("loss", "sft"),
    "grpo": ("loss", "sft"),
}


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

    def _check_markers(self) -> None:
        markers = self.data.markers
        if markers.mode == "inferred" and "sft" not in self.loss.losses():
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
        if (self.method != "dpo") != (self.data.format == "associations"):
            raise ConfigError(
                f"method={self.method} cannot learn from data.format={self.data.format}: dpo takes pairs, "
                "sft, rloo and grpo take associations (data=associations); 'kalign norms pairs' makes "
                "pairs of norms"
            )
        if self.method != "dpo" and self.evaluation.panel_every:
            raise ConfigError(
                f"evaluation.panel_every={self.evaluation.panel_every} asks a pack's prompts while pairs are "
                f"learned, and method={self.method} learns none; use evaluation.panel_every=0"
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
        del plain["model"]["licence"], plain["data"]["accept_licence_of"]  # duties, not numbers
        return plain

    def runs_path(self) -> Path:
        """The folder that holds all run folders."""
        return Path(self.runs_dir).expanduser()
