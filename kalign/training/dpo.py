"""DPO on one recipe: inputs, pairs, base, adapter, training, and what changed, in this order and in one run
folder."""

import contextlib
import dataclasses
import json
import logging
import os
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet
import torch
import transformers
from accelerate import PartialState
from datasets import Dataset
from peft import LoraConfig
from rich.console import Console
from transformers import ProgressCallback
from trl import DPOConfig

from kalign import files, runs
from kalign.config import Recipe
from kalign.config.compose import as_yaml
from kalign.data import build, ledger, sources
from kalign.data.build import Pair, Pairs
from kalign.errors import ConfigError, IntegrityError, ResourceError
from kalign.models import loading
from kalign.models.chat import Chat
from kalign.models.loading import Located
from kalign.records import text
from kalign.runs import Run
from kalign.training import checkpoints, guards, held_out, report
from kalign.training.held_out import Scores
from kalign.training.trainer import Epochs, PairTrainer, StepOrder

PAIR_COLUMNS = {name: pyarrow.list_(pyarrow.int32()) for name in ("prompt_ids", "chosen_ids", "rejected_ids")}


def train(recipe: Recipe, console: Console) -> Run:
    """Train what the recipe describes, or go on where an earlier call of the same command stopped.

    Returns:
        The run, finished: `adapter/` holds the adapter, `result.json` what changed.

    Raises:
        KalignError: of the category that says who can mend it.
    """
    calm()
    run = runs.named(recipe.runs_path(), recipe.name, recipe.determining())
    first = int(os.environ.get("RANK", "0")) == 0
    console.quiet = console.quiet or not first
    with runs.locked(run) if first else contextlib.nullcontext():
        if run.result.exists():
            _say_finished(recipe, run, console)
        else:
            _train(recipe, run, console)
    return run


def _train(recipe: Recipe, run: Run, console: Console) -> None:
    console.print(f"[bold]{recipe.name}[/bold] → {run.path}")
    started = time.monotonic()
    args = dpo_config(recipe, run)
    ranks = _ranks()
    located = loading.locate(recipe.model)
    chat = Chat(
        loading.load_tokenizer(recipe.model, located),
        bos_count=recipe.model.bos_count,
        turn_end=recipe.model.turn_end,
    )
    pairs = None
    if ranks.is_main_process:
        pairs = _prepared(recipe, run, located, chat, console)
    ranks.wait_for_everyone()
    trainer = _trainer(recipe, run, args, located, chat)
    resumed = _resume_point(run, ranks, console)
    before = _look(recipe, run, trainer, chat, pairs, adapter=False) if pairs else None
    ranks.wait_for_everyone()
    _describe(recipe, trainer, resumed, console)
    with _disk_errors(run):
        trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    if ranks.is_main_process and pairs and before:
        after = _look(recipe, run, trainer, chat, pairs, adapter=True)
        with _disk_errors(run):
            trainer.model.save_pretrained(run.adapter)
            chat.tokenizer.save_pretrained(run.adapter)
            (run.adapter / "README.md").unlink()  # PEFT's card says nothing of this run
            _conclude(recipe, run, trainer, pairs, before, after, time.monotonic() - started)
        _say_result(run, console)
    ranks.wait_for_everyone()


def calm() -> None:
    """Let the libraries report only what a user has to act on, and send nothing about the user anywhere."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    transformers.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    warnings.filterwarnings(
        "ignore", category=FutureWarning, module="(transformers|trl|peft|accelerate|torch)"
    )
    warnings.filterwarnings("ignore", message=".*pin_memory.*")


def dpo_config(recipe: Recipe, run: Run) -> DPOConfig:
    """TRL's arguments for a recipe: every setting that decides something is stated, none is left to TRL's
    defaults.

    Raises:
        ConfigError: this machine cannot do what the recipe asks for.
    """
    settings = dataclasses.asdict(recipe.trainer)
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    accumulation = recipe.trainer.accumulation(world_size)
    del settings["pairs_per_step"]
    if world_size == 1 and torch.cuda.device_count() > 1:
        raise ConfigError(
            f"{torch.cuda.device_count()} GPUs are visible to one process; start one process for each with "
            f"'accelerate launch train.py recipe={recipe.name}', or show one with CUDA_VISIBLE_DEVICES=0"
        )
    if settings["bf16"] and not torch.cuda.is_available():
        raise ConfigError(
            "trainer.bf16=true needs a GPU, and none is here; use trainer.bf16=false model.dtype=float32"
        )
    loss = dataclasses.asdict(recipe.loss) | {"loss_type": recipe.loss.losses()}
    return DPOConfig(
        **settings,
        **loss,
        output_dir=str(run.checkpoints),
        use_cpu=not torch.cuda.is_available(),  # without it, several processes on CPUs do not find each other
        gradient_accumulation_steps=accumulation,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        max_length=None,  # kalign's pairs fit already
        disable_dropout=False,  # TRL's default would set lora_dropout to 0
        data_seed=recipe.trainer.seed,
        save_strategy="steps",
        logging_first_step=True,
        logging_nan_inf_filter=False,  # would report a loss that is no number as 0
        ddp_find_unused_parameters=False,
        report_to=_tracker(recipe, run),
        run_name=run.path.name,
    )


def _ranks() -> PartialState:
    """All processes of this launch, connected.

    Raises:
        ConfigError: fewer are connected than were started; each would train by itself into the same folder.
    """
    ranks = PartialState()
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks.num_processes != started:
        raise ConfigError(
            f"{started} processes were started, but {ranks.num_processes} take part in the training; start "
            "them with torchrun "
            "or with 'accelerate launch --multi_gpu'"
        )
    return ranks


def _tracker(recipe: Recipe, run: Run) -> str:
    """Tell the tracker, through the variables it reads, which run this is; a repeated command continues its
    curves."""
    if recipe.tracker.name == "wandb":
        told = {
            "WANDB_PROJECT": recipe.tracker.project,
            "WANDB_RUN_ID": run.path.name,
            "WANDB_RESUME": "allow",
            "WANDB_MODE": recipe.tracker.mode,
            "WANDB_DIR": str(run.path),
        }
        if recipe.tracker.group:
            told["WANDB_RUN_GROUP"] = recipe.tracker.group
        os.environ.update(told)
    elif recipe.tracker.name == "tensorboard":
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(run.path / "tensorboard")
    return recipe.tracker.name


def _prepared(recipe: Recipe, run: Run, located: Located, chat: Chat, console: Console) -> Pairs:
    """Make the pairs, write ledger, manifest and tokens, and refuse data or inputs that cannot be trained
    on."""
    pairs = build.build(recipe.data, chat)
    ledger.write(run.ledger, pairs.lines)
    report.print_ledger(console, pairs.summary, run.ledger)
    build.require_acceptable(pairs, recipe.data)
    inputs = {
        "data": pairs.identity,
        "template_sha256": chat.template_sha256,
        "tokenizer_sha256": chat.tokenizer_sha256,
        "base": loading.base_identity(located),
    }
    if run.manifest.exists():
        runs.require_same(_recorded(run)["inputs"], inputs, run)
    else:
        (run.path / "recipe.yaml").write_text(as_yaml(recipe), encoding="utf-8")
        manifest = {
            "fingerprint": runs.fingerprint({"recipe": recipe.determining(), "inputs": inputs}),
            "inputs": inputs,
            "ledger": pairs.summary.as_dict(),
            "versions": runs.versions(),
            "git_commit": runs.git_commit(),
            "recipe": dataclasses.asdict(recipe),
        }
        files.write_json(run.manifest, manifest)
    for name, some in (("train", pairs.train), ("eval", pairs.held_out)):
        files.write_parquet(run.pairs / f"{name}.parquet", (pair.columns() for pair in some), PAIR_COLUMNS)
    return pairs


def _recorded(run: Run) -> dict[str, Any]:
    try:
        recorded: dict[str, Any] = json.loads(run.manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError) as wrong:
        raise IntegrityError(
            f"{run.manifest} is damaged ({wrong}); remove {run.path} and run the same command again"
        ) from wrong
    return recorded


def _trainer(recipe: Recipe, run: Run, args: DPOConfig, located: Located, chat: Chat) -> PairTrainer:
    adapter = dataclasses.asdict(recipe.adapter)
    del adapter["quantization"]
    train = Dataset(pyarrow.parquet.read_table(run.pairs / "train.parquet"))
    held = Dataset(pyarrow.parquet.read_table(run.pairs / "eval.parquet"))
    order = StepOrder(len(train), pairs_per_step=recipe.trainer.pairs_per_step, seed=recipe.trainer.seed)
    model = loading.load_model(recipe.model, located, recipe.adapter.quantization, device=args.device)
    try:
        trainer = PairTrainer(
            model,
            args=args,
            train_dataset=train,
            eval_dataset=held if len(held) else None,
            processing_class=chat.tokenizer,
            peft_config=LoraConfig(**adapter, bias="none", task_type="CAUSAL_LM"),
            callbacks=[
                guards.FirstStep(
                    recipe.loss, dtype="bfloat16" if recipe.trainer.bf16 else recipe.model.dtype
                ),
                guards.FiniteGradients(),
                checkpoints.Sealed(
                    run.checkpoints, keep=recipe.trainer.save_total_limit, history=run.history
                ),
                Epochs(order),
            ],
            order=order,
        )
    except ValueError as wrong:
        if "Target modules" in str(wrong):
            raise ConfigError(
                f"adapter.target_modules={recipe.adapter.target_modules} names no layer of {located.name}; "
                "name the projections its class has"
            ) from wrong
        raise
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(report.Progress)
    trained = sum(weight.numel() for weight in trainer.model.parameters() if weight.requires_grad)
    runs.require_space(
        run.path, trained * 12 * (recipe.trainer.save_total_limit + 1)
    )  # weights and two Adam moments
    return trainer


def _resume_point(run: Run, ranks: PartialState, console: Console) -> Path | None:
    """The checkpoint to go on from; whatever is newer is damaged, and removed so that it is made again.

    Raises:
        IntegrityError: it was made by another number of processes, whose random states it holds.
    """
    newest, passed_over = checkpoints.newest(run.checkpoints)
    for sentence in passed_over:
        console.print(f"[yellow]{sentence}[/yellow]")
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
    trained = sum(weight.numel() for weight in trainer.model.parameters() if weight.requires_grad)
    repeated = trainer.order.repeated
    console.print(
        f"Training {trained:,} adapter weights on {trainer.order.pairs:,} pairs, "
        f"{recipe.trainer.pairs_per_step} a step"
        + (f"; {repeated} of them are seen twice an epoch to fill its last step" if repeated else "")
        + (f"; going on from {resumed}" if resumed else "")
    )


def _look(
    recipe: Recipe, run: Run, trainer: PairTrainer, chat: Chat, pairs: Pairs, *, adapter: bool
) -> tuple[Scores, list[str]]:
    """Score the held-out pairs and let the model answer some of their prompts."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    autocast = trainer.accelerator.autocast
    scored = held_out.scores(
        model,
        pairs.held_out,
        pad=int(chat.tokenizer.pad_token_id),
        batch=recipe.trainer.per_device_eval_batch_size,
        adapter=adapter,
        autocast=autocast,
    )
    said = held_out.answers(
        model,
        [pair.prompt_ids for pair in _shown(recipe, pairs)],
        chat.tokenizer,
        turn_end=chat.turn_end_id,
        max_new_tokens=recipe.evaluation.max_new_tokens,
        adapter=adapter,
        autocast=autocast,
    )
    return scored, said


def _shown(recipe: Recipe, pairs: Pairs) -> Sequence[Pair]:
    return pairs.held_out[: recipe.evaluation.generations]


def _conclude(
    recipe: Recipe,
    run: Run,
    trainer: PairTrainer,
    pairs: Pairs,
    before: tuple[Scores, list[str]],
    after: tuple[Scores, list[str]],
    seconds: float,
) -> None:
    """Write curves and result; the result comes last, because it is what makes a run finished."""
    files.write_jsonl(run.history, trainer.state.log_history)
    compared = None
    if pairs.held_out:
        compared = held_out.comparison(pairs.held_out, before[0], after[0], beta=recipe.loss.beta)
    shown = [
        {"prompt": text(pair.triplet.prompt), "before": old, "after": new}
        for pair, old, new in zip(_shown(recipe, pairs), before[1], after[1], strict=True)
    ]
    result = {
        "run": run.path.name,
        "adapter": str(run.adapter),
        "adapter_sha256": files.sha256(run.adapter / "adapter_model.safetensors"),
        "steps": trainer.state.global_step,
        "seconds": round(seconds, 1),  # of this call; an interrupted run's earlier calls are not in it
        "train_pairs": pairs.summary.train,
        "held_out": compared,
        "answers": shown,
    }
    files.write_json(run.result, result)


def _say_result(run: Run, console: Console) -> None:
    result = json.loads(run.result.read_text(encoding="utf-8"))
    if result["held_out"]:
        report.print_comparison(console, result["held_out"])
    report.print_answers(console, result["answers"])
    console.print(f"Adapter: [bold]{run.adapter}[/bold] ({result['steps']} steps, {result['seconds']:.0f} s)")
    console.print(f"Curves: {run.history} · result: {run.result} · every row: {run.ledger}")
    console.print(
        f"Next: kalign train recipe={run.path.name.rsplit('-', 1)[0]} loss.beta=0.3, or data.path=YOUR.jsonl"
    )


def _say_finished(recipe: Recipe, run: Run, console: Console) -> None:
    """Say that there is nothing left to do, unless the data are no longer those that were trained on."""
    digests = {name: sources.digest(source) for name, source in recipe.data.sources().items()}
    recorded = {name: noted["sha256"] for name, noted in _recorded(run)["inputs"]["data"].items()}
    runs.require_same({"data": recorded}, {"data": digests}, run)
    console.print(f"{run.path} is finished; nothing was changed. Remove it to train again.")
    _say_result(run, console)


@contextlib.contextmanager
def _disk_errors(run: Run) -> Any:
    """Say in one sentence that the disk is full; torch and safetensors report it each in a way of their
    own."""
    from safetensors import SafetensorError

    try:
        yield
    except OSError as wrong:
        files.raise_if_full(wrong, run.path)
        raise
    except (RuntimeError, SafetensorError) as wrong:
        said = str(wrong)
        if (
            "unexpected pos" in said
            or "PytorchStreamWriter" in said
            or "No space" in said
            or "File too large" in said
        ):
            raise ResourceError(
                f"no space left to write {run.path}; the last checkpoint is untouched. Free some and run "
                "the same command again"
            ) from wrong
        raise
