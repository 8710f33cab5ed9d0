"""Settings of word associations and of rewards: which norms, which task, and what an answer is worth."""

from dataclasses import dataclass, field

from kalign.config.rules import above, one_of
from kalign.errors import ConfigError

LAYOUTS = ("auto", "swow_en", "swow_zh", "swow_raw", "strength", "edges", "table")
TASKS = ("generation", "ranking", "participant")
REWARDS = ("spearman_strict", "spearman_compat", "kendall", "strength_recall")
GRPO_LOSSES = ("dr_grpo", "dapo", "grpo", "bnpo")


@dataclass(kw_only=True)
class AssociationColumns:
    """Under which names a file of your own keeps its fields (associations.layout=table)."""

    cue: str = "cue"
    responses: list[str] = field(default_factory=lambda: ["response"])
    count: str | None = None


@dataclass(kw_only=True)
class Associations:
    """Which association norms are learned, and as which task."""

    culture: str = "own"
    prompts: str = "en"
    layout: str = "auto"
    columns: AssociationColumns = field(default_factory=AssociationColumns)
    where: list[str] = field(default_factory=list)
    task: str = "generation"
    split: list[float] = field(default_factory=lambda: [0.7, 0.2, 0.1])
    target_examples: int = 1_000_000
    copies_per_cue: int | None = None
    subset_share: float = 0.7
    top_k: int = 10
    questions_per_cue: int = 6
    distinct_counts: bool = True
    least_count: int = 1
    shuffle_cues: bool = False

    def check(self) -> None:
        """Raise ConfigError where the block contradicts itself."""
        one_of("associations.layout", self.layout, LAYOUTS)
        one_of("associations.task", self.task, TASKS)
        if len(self.split) != 3 or any(share < 0 for share in self.split) or abs(sum(self.split) - 1) > 1e-9:
            raise ConfigError(
                f"associations.split={self.split} must be three shares of the cues that add up to 1: those "
                "trained on, those kept for later stages, and those held out"
            )
        above("associations.target_examples", self.target_examples, 0)
        if self.copies_per_cue is not None:
            above("associations.copies_per_cue", self.copies_per_cue, 0)
        if not 0 < self.subset_share <= 1:
            raise ConfigError(
                f"associations.subset_share={self.subset_share} is the share of a cue's associates that one "
                "example holds; use above 0 up to 1"
            )
        above("associations.top_k", self.top_k, 1)
        above("associations.questions_per_cue", self.questions_per_cue, 0)
        above("associations.least_count", self.least_count, 0)
        if not self.columns.responses:
            raise ConfigError("associations.columns.responses is empty; name at least one column")


@dataclass(kw_only=True)
class Sft:
    """Supervised fine-tuning: LoRA+ gives the B matrices a rate of their own; null trains all alike."""

    loraplus_lr_ratio: float | None = 16.0
    loraplus_lr_embedding: float = 1e-6

    def check(self) -> None:
        """Raise ConfigError where a value is out of range."""
        if self.loraplus_lr_ratio is not None:
            above("sft.loraplus_lr_ratio", self.loraplus_lr_ratio, 0)
        above("sft.loraplus_lr_embedding", self.loraplus_lr_embedding, 0)


@dataclass(kw_only=True)
class Reward:
    """Reward-based training, by TRL's own names where it has one; `name`, `max_*` and `window` are ours."""

    name: str = "spearman_strict"
    num_generations: int = 8
    beta: float = 0.1
    epsilon: float = 0.2
    num_iterations: int = 1
    temperature: float = 1.0
    max_completion_length: int = 1024
    normalize_advantages: bool = True
    loss_type: str = "dr_grpo"
    max_drop: float = 0.2
    max_kl: float = 1.0
    window: int = 5

    def check(self) -> None:
        """Raise ConfigError where a value is unknown or out of range."""
        one_of("reward.name", self.name, REWARDS)
        one_of("reward.loss_type", self.loss_type, GRPO_LOSSES)
        above("reward.num_generations", self.num_generations, 1)
        above("reward.beta", self.beta, 0, inclusive=True)
        positive = {
            "epsilon": self.epsilon,
            "num_iterations": self.num_iterations,
            "temperature": self.temperature,
            "max_completion_length": self.max_completion_length,
            "max_drop": self.max_drop,
            "max_kl": self.max_kl,
            "window": self.window,
        }
        for key, value in positive.items():
            above(f"reward.{key}", value, 0)
