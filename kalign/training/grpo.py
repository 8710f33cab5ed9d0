"""Training on rewards: several answers to each prompt, the better ones made likelier (RLOO, GRPO).

Neither has a critic, so ALIGN's learning rate for one has no counterpart here. What is sampled depends on
how many processes sample it: other numbers of them give other answers, in contrast to the other methods.
"""

from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from rich.console import Console
from transformers import ProgressCallback
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from kalign.config import Recipe
from kalign.data.examples import Examples
from kalign.models import loading
from kalign.models.chat import Chat
from kalign.models.loading import Located
from kalign.preemption import Notice
from kalign.runs import Run
from kalign.training import adapters, arguments, checkpoints, examples, guards
from kalign.training.steady import Steady


def train(recipe: Recipe, console: Console, notice: Notice, read: examples.Read) -> Run:
    """Train on the rewards of answers; as `examples.train`."""
    return examples.train(recipe, console, notice, read=read, make=build)


class Sampling(Steady):
    """A trainer that samples: the prompts' ids go in untouched.

    Args:
        prompt_ids: the ids of each prompt, by the name under which the data set keeps it.
    """

    _total_train_tokens = 0  # these trainers count in their state, which is saved anyway

    def __init__(self, *given: Any, prompt_ids: dict[str, list[int]], **options: Any) -> None:
        self.prompt_ids = prompt_ids
        super().__init__(*given, **options)
        self.hold_in_float32()

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return [list(self.prompt_ids[name]) for name in prompts], None, {}  # TRL would tokenise again


class LeaveOneOut(Sampling, RLOOTrainer):
    """RLOO: each answer against the mean of the others to its prompt, KL in the reward."""


class Grouped(Sampling, GRPOTrainer):
    """GRPO: each answer against the mean of its group, KL in the loss."""


def config(recipe: Recipe, run: Run) -> RLOOConfig | GRPOConfig:
    """TRL's arguments, every one that decides something stated."""
    told = recipe.reward
    settings = arguments.shared(recipe, run) | {
        "num_generations": told.num_generations,
        "beta": told.beta,
        "epsilon": told.epsilon,
        "num_iterations": told.num_iterations,
        "temperature": told.temperature,
        "max_completion_length": told.max_completion_length,
        "disable_dropout": False,
        "shuffle_dataset": True,
        "eval_strategy": "no",  # held-out examples are answered greedily, before and after
    }
    if recipe.method == "rloo":
        return RLOOConfig(**settings, normalize_advantages=told.normalize_advantages)
    return GRPOConfig(
        **settings, loss_type=told.loss_type, scale_rewards="none" if told.loss_type == "dr_grpo" else "group"
    )


def build(recipe: Recipe, run: Run, located: Located, chat: Chat, read: Examples) -> Sampling:
    """The trainer of the recipe's method, watched for a reward or a KL that runs away."""
    args = config(recipe, run)
    rows = examples.rows(run)
    prompts = {str(row["example"]): list(row["prompt_ids"]) for row in rows}
    model = loading.load_model(recipe.model, located, recipe.adapter.quantization, device=args.device)
    model.generation_config.eos_token_id = [chat.turn_end_id]

    worth = read.reward
    assert worth is not None  # composed: these methods learn from associations, which have one

    def reward(prompts: Sequence[str], completions: Sequence[str], **_: Any) -> list[float]:
        return [worth(read.train[int(name)], said) for name, said in zip(prompts, completions, strict=True)]

    low, high = read.reward_range
    kind = LeaveOneOut if recipe.method == "rloo" else Grouped
    trainer = kind(
        model,
        reward_funcs=reward,
        args=args,
        train_dataset=Dataset.from_dict({"prompt": list(prompts)}),
        processing_class=chat.tokenizer,
        peft_config=adapters.config(recipe),
        callbacks=[checkpoints.Sealed.of(recipe, run), guards.Rewards(recipe.reward, span=high - low)],
        prompt_ids=prompts,
    )
    trainer.remove_callback(ProgressCallback)
    return trainer
