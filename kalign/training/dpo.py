"""DPO on one recipe: inputs, pairs, base, adapter, training, and what changed, in this order and in one run
folder."""

import contextlib
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow.parquet
from accelerate import PartialState
from datasets import Dataset
from rich.console import Console
from transformers import ProgressCallback
from trl import DPOConfig

from kalign import runs
from kalign.config import Recipe
from kalign.data.build import Pairs
from kalign.errors import ConfigError, IntegrityError, Interrupted
from kalign.models import loading, promises
from kalign.models.chat import Chat
from kalign.models.loading import Located
from kalign.preemption import Notice
from kalign.runs import Run
from kalign.training import (
    adapters,
    arguments,
    checkpointing,
    checkpoints,
    finished,
    guards,
    inputs,
    limits,
    micro_batches,
    panel,
    progress,
    references,
    results,
)
from kalign.training import ranks as waiting
from kalign.training.behaviour import HeldOutPrompt
from kalign.training.planning.plan import steps_of
from kalign.training.results import Look
from kalign.training.sentinel import Sentinel
from kalign.training.steady import Steady
from kalign.training.trainer import Epochs, PairTrainer, StepOrder, Unlogged


def train(recipe: Recipe, console: Console, notice: Notice) -> Run:
    """Train what the recipe describes, or go on where an earlier call of the same command stopped.

    Args:
        notice: where a signal is noted, so that the training stops with a checkpoint.

    Returns:
        The run, finished: `adapter/` holds the adapter, `result.json` what changed.

    Raises:
        KalignError: of the category that says who can mend it.
    """
    return in_folder(
        recipe,
        console,
        train=lambda run: _train(recipe, run, console, notice),
        finished=lambda run: finished.say_again(recipe, run, console),
    )


def in_folder(
    recipe: Recipe, console: Console, *, train: Callable[[Run], None], finished: Callable[[Run], None]
) -> Run:
    """The recipe's run: trained in its locked folder, or found finished there."""
    arguments.calm()
    run = runs.named(recipe.runs_path(), recipe.name, recipe.determining())
    first = int(os.environ.get("RANK", "0")) == 0
    console.quiet = console.quiet or not first
    with runs.locked(run, setting="runs_dir") if first else contextlib.nullcontext():
        (finished if run.result.exists() else train)(run)
    return run


def _train(recipe: Recipe, run: Run, console: Console, notice: Notice) -> None:
    console.print(f"{recipe.name} → {run.path}", soft_wrap=True)
    console.print(recipe.model.licence.sentence(), style="dim", soft_wrap=True)
    started = time.monotonic()
    args = arguments.dpo_config(recipe, run)
    asked = panel.asked(recipe)  # refused before anything is loaded
    ranks = arguments.connected(recipe)
    located = loading.locate(recipe.model)
    chat = promises.load_chat(recipe.model, located)
    pairs = None
    if ranks.is_main_process:
        pairs = inputs.prepare(recipe, run, located, chat, console)
    waiting.wait()
    trainer = _trainer(recipe, run, args, located, chat)
    resumed = resume_point(run, ranks, console)
    sentinel = _watched(recipe, run, trainer, chat, asked)
    sentinel.require_sound(checkpoints.step(resumed) if resumed else 0)
    with limits.explained(run):
        before = None
        if pairs and not trainer.divided:
            before = results.look(recipe, trainer, chat, pairs.held_out, adapter=False)
        waiting.wait()
        _describe(recipe, trainer, resumed, console)
        _refer(recipe, run, trainer, located, console)
        if recipe.trainer.gradient_checkpointing == "auto":
            console.print(checkpointing.settle(recipe, trainer, located).sentence(), soft_wrap=True)
        learn(trainer, resumed, notice)
        sentinel.require_sound(trainer.state.global_step)
        if trainer.divided:
            before, after = looks_together(recipe, run, trainer, chat, pairs)
        elif pairs:
            after = results.look(recipe, trainer, chat, pairs.held_out, adapter=True)
            results.save_adapter(recipe, run, trainer, chat)
        if pairs and before:
            first = checkpoints.step(resumed) if resumed else 0
            pace = results.pace(trainer, first)
            results.conclude(recipe, run, trainer, pairs, before, after, time.monotonic() - started, pace)
            finished.say(run, console)
    waiting.wait()


def _watched(
    recipe: Recipe, run: Run, trainer: PairTrainer, chat: Chat, asked: Sequence[HeldOutPrompt]
) -> Sentinel:
    """The sentinel, which looks at the training from now on; and the panel, where one is asked."""
    watching = panel.Panel(recipe, run, trainer, chat, asked) if asked else None
    if watching:
        trainer.add_callback(watching)
    sentinel = Sentinel(recipe.guards, run, beta=recipe.loss.beta, panel=watching, say=progress.say_above_bar)
    if recipe.guards.collapse != "none":
        trainer.add_callback(sentinel)
    return sentinel


def looks_together(
    recipe: Recipe, run: Run, trainer: PairTrainer, chat: Chat, pairs: Pairs | None
) -> tuple[Look, Look]:
    """Both looks of all processes at a divided model, and its adapter saved whole.

    The base is looked at now, because a model is only divided once its training begins; the adapter left it
    as it was.

    Args:
        pairs: what the first process made; the others are told the held-out ones.
    """
    held = waiting.told(pairs.held_out if pairs else None) or []
    after = results.look(recipe, trainer, chat, held, adapter=True)
    before = results.look(recipe, trainer, chat, held, adapter=False)
    results.save_adapter(recipe, run, trainer, chat)
    return before, after


def learn(trainer: Steady, resumed: Path | None, notice: Notice) -> None:
    """All steps that are left.

    Raises:
        Interrupted: this process or another was asked to leave; the last step is saved.
    """
    if resumed and checkpoints.holds_last_step(resumed):
        trainer.restore(resumed)  # the Trainer would make one step more
        return
    if resumed:
        trainer.add_callback(Unlogged(trainer, resumed))
    stop = waiting.StopWhenAsked(notice)
    trainer.add_callback(stop)
    with notice.until_saved():
        trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    if stop.stopped or notice.given:
        raise Interrupted(
            f"asked to leave{f' by {notice.given}' if notice.given else ''} and saved after step "
            f"{trainer.state.global_step}; the same command goes on from there"
        )


def _refer(recipe: Recipe, run: Run, trainer: PairTrainer, located: Located, console: Console) -> None:
    """Give the trainer its reference from the store, or say why each step computes it."""
    made_from = references.of_run(recipe, run, located, trainer.args.device)
    if not recipe.trainer.reference_store:
        reason = "trainer.reference_store=false"
    elif made_from is None:
        reason = f"nothing says which weights {located.name} has"
    elif trainer.divided:
        reason = "the model is divided over the processes"
    else:
        store = references.Store(made_from)
        used = references.use(trainer, store, kept=run.pairs, loss=recipe.loss, dtype=arguments.dtype(recipe))
        console.print(used.sentence(), soft_wrap=True)
        return
    console.print(f"Every step computes the reference, as TRL does: {reason}", soft_wrap=True)


def _trainer(recipe: Recipe, run: Run, args: DPOConfig, located: Located, chat: Chat) -> PairTrainer:
    train = Dataset(pyarrow.parquet.read_table(run.pairs / "train.parquet"))
    held = Dataset(pyarrow.parquet.read_table(run.pairs / "eval.parquet"))
    order = StepOrder(len(train), pairs_per_step=recipe.trainer.pairs_per_step, seed=recipe.trainer.seed)
    plan = _plan(recipe, args, train, order)
    model = loading.load_model(recipe.model, located, recipe.adapter.quantization, device=args.device)
    limits.require_positions(model, train, held, name=located.name)
    try:
        trainer = PairTrainer(
            model,
            args=args,
            train_dataset=train,
            eval_dataset=held if len(held) else None,
            processing_class=chat.tokenizer,
            peft_config=adapters.config(recipe),
            callbacks=[
                guards.FirstStep(
                    recipe.loss, dtype=arguments.dtype(recipe), stored=recipe.trainer.reference_store
                ),
                checkpoints.Sealed.of(recipe, run),
                Epochs(order),
            ],
            order=order,
            share_prefix=recipe.trainer.shared_prefix,
            plan=plan,
        )
    except ValueError as wrong:
        if "Target modules" in str(wrong):
            raise ConfigError(
                f"adapter.target_modules={recipe.adapter.target_modules} names no layer of {located.name}; "
                "name the projections its class has"
            ) from wrong
        raise
    if plan and trainer.stock_because:
        raise ConfigError(
            f"trainer.tokens_per_micro_batch={plan.budget} counts tokens of rows without padding, and pairs "
            f"cannot share rows here: {trainer.stock_because}; use trainer.per_device_train_batch_size"
        )
    arguments.require_divided(trainer.accelerator.distributed_type.value)
    adapters.require_language_only(trainer.model, recipe.adapter.target_modules)
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(progress.Progress(progress.SHOWN))
    checkpoint_bytes = 12 * checkpoints.trained_weights(
        trainer.model
    )  # float32 weights and Adam's two moments
    runs.require_space(run.path, checkpoint_bytes * (recipe.trainer.save_total_limit + 1))
    return trainer


def _plan(recipe: Recipe, args: DPOConfig, train: Dataset, order: StepOrder) -> micro_batches.Plan | None:
    """How the steps are dealt into micro-batches, if by their tokens; the Trainer is told how many."""
    budget = recipe.trainer.tokens_per_micro_batch
    if budget is None:
        return None
    arguments.require_no_deepspeed("trainer.tokens_per_micro_batch")
    steps = steps_of(recipe, len(train))
    assert steps is not None
    plan = micro_batches.planned(
        train.to_list(), order, steps=steps, budget=budget, ranks=PartialState().num_processes
    )
    args.gradient_accumulation_steps = plan.micro_batches
    return plan


def resume_point(run: Run, ranks: PartialState, console: Console) -> Path | None:
    """The checkpoint to go on from; whatever is newer is damaged, and removed so that it is made again.

    Raises:
        IntegrityError: it was made by another number of processes, whose random states it holds.
    """
    newest, passed_over = checkpoints.newest(run.checkpoints, run.read_manifest()["fingerprint"])
    for sentence in passed_over:
        console.print(sentence, style="yellow", soft_wrap=True)
    if newest:
        made_by = json.loads((newest / checkpoints.MANIFEST).read_text(encoding="utf-8"))["world_size"]
        if made_by != ranks.num_processes:
            raise IntegrityError(
                f"{newest} was made by {made_by} process(es) and holds their random states, but this is "
                f"{ranks.num_processes}; "
                f"start as many again, or remove {run.checkpoints} to train from the beginning"
            )
    ranks.wait_for_everyone()
    if ranks.is_main_process:
        checkpoints.remove_after(run.checkpoints, newest)
    return newest


def _describe(recipe: Recipe, trainer: PairTrainer, resumed: Path | None, console: Console) -> None:
    again = trainer.order.sentence()
    console.print(
        f"Training {checkpoints.trained_weights(trainer.model):,} adapter weights on "
        f"{trainer.order.pairs:,} pairs, {recipe.trainer.pairs_per_step} a step"
        + (f"; {again}" if again else "")
        + (f"; going on from {resumed}" if resumed else ""),
        soft_wrap=True,
    )
    if trainer.plan is not None:
        console.print(trainer.plan.sentence(), soft_wrap=True)
    if trainer.fused is None:
        console.print("Adapted layers run PEFT's own forward: DeepSpeed is on", soft_wrap=True)
    elif said := trainer.fused.sentence():
        console.print(said, soft_wrap=True)
    if trainer.stock_because is not None:
        console.print(f"Every prompt is run twice, in TRL's way: {trainer.stock_because}", soft_wrap=True)
