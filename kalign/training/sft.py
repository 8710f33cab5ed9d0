"""Supervised fine-tuning on examples, with LoRA+: what an answer should be is learned token by token."""

from typing import Any

from datasets import Dataset
from peft.optimizers import create_loraplus_optimizer
from rich.console import Console
from transformers import ProgressCallback
from trl import SFTConfig, SFTTrainer

from kalign.config import Recipe, Sft
from kalign.data.examples import Examples
from kalign.models import loading
from kalign.models.chat import Chat
from kalign.models.loading import Located
from kalign.preemption import Notice
from kalign.runs import Run
from kalign.training import adapters, arguments, checkpoints, examples, limits
from kalign.training.steady import Steady
from kalign.training.trainer import Epochs, StepOrder

IGNORED = -100  # a label that no loss reads


def train(recipe: Recipe, console: Console, notice: Notice, read: examples.Read) -> Run:
    """Train on the answers of examples; as `examples.train`."""
    return examples.train(recipe, console, notice, read=read, make=build)


class AnswerTrainer(Steady, SFTTrainer):
    """SFTTrainer on examples that are tokenised already, in our order, with LoRA+.

    Args:
        order: in which the examples are seen.
        plus: the rates of LoRA+.
    """

    order: StepOrder

    def __init__(self, *given: Any, order: StepOrder, plus: Sft, **options: Any) -> None:
        self.order = order
        self.plus = plus
        super().__init__(*given, **options)
        self.hold_in_float32()

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> StepOrder:
        return self.order

    optimizer: Any

    def create_optimizer(self, *given: Any, **options: Any) -> Any:
        """The optimizer that the recipe names; with LoRA+, its B matrices learn faster.

        Source:
            Hayou et al. 2024, https://arxiv.org/abs/2402.12354.
        """
        if self.plus.loraplus_lr_ratio is None or self.optimizer is not None:
            return super().create_optimizer(*given, **options)
        kind, settings = self.get_optimizer_cls_and_kwargs(self.args)
        rate = settings.pop("lr")
        self.optimizer = create_loraplus_optimizer(
            model=self.accelerator.unwrap_model(self.model),
            optimizer_cls=kind,
            lr=rate,
            loraplus_lr_ratio=self.plus.loraplus_lr_ratio,
            loraplus_lr_embedding=self.plus.loraplus_lr_embedding,
            loraplus_weight_decay=self.args.weight_decay,
            **settings,
        )
        return self.optimizer


def config(recipe: Recipe, run: Run) -> SFTConfig:
    """TRL's arguments, every one that decides something stated."""
    return SFTConfig(
        **arguments.shared(recipe, run),
        max_length=None,  # kalign's examples fit already
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},  # TRL would tokenise again
        remove_unused_columns=False,
        loss_type="nll",
    )


def build(recipe: Recipe, run: Run, located: Located, chat: Chat, read: Examples) -> AnswerTrainer:
    """The trainer; only the answers' tokens are learned."""
    args = config(recipe, run)
    tokens = examples.rows(run)
    rows = tokens.map(_labelled, remove_columns=["example", "prompt_ids", "answer_ids"])
    held, _ = examples.tokenised(read.held_out, chat, recipe.data.max_length)
    held_rows = Dataset.from_list([_labelled(row) for row in held]) if held else None
    order = StepOrder(len(rows), pairs_per_step=recipe.trainer.pairs_per_step, seed=recipe.trainer.seed)
    model = loading.load_model(recipe.model, located, recipe.adapter.quantization, device=args.device)
    limits.require_positions(model, tokens, name=located.name)
    trainer = AnswerTrainer(
        model,
        args=args,
        train_dataset=rows,
        eval_dataset=held_rows if recipe.trainer.eval_strategy != "no" else None,
        processing_class=chat.tokenizer,
        peft_config=adapters.config(recipe),
        callbacks=[checkpoints.Sealed.of(recipe, run), Epochs(order)],
        order=order,
        plus=recipe.sft,
    )
    trainer.remove_callback(ProgressCallback)
    return trainer


def _labelled(row: dict[str, Any]) -> dict[str, list[int]]:
    prompt, answer = list(row["prompt_ids"]), list(row["answer_ids"])
    return {"input_ids": prompt + answer, "labels": [IGNORED] * len(prompt) + answer}
