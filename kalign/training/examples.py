"""Training on examples, whatever the method: read, tokenise, train, answer held-out ones before and after, in
one run folder that an earlier call of the same command may have begun."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow
import pyarrow.parquet
from datasets import Dataset
from rich.console import Console
from tqdm import tqdm

from kalign import files
from kalign.config import Recipe
from kalign.data import build, ledger
from kalign.data.examples import Example, Examples, Score
from kalign.errors import DataError, IntegrityError
from kalign.models import loading, promises
from kalign.models.chat import Chat
from kalign.models.loading import Located
from kalign.preemption import Notice
from kalign.records import Message, UnusableTriplet, text
from kalign.runs import Run
from kalign.statistics import mean_interval, paired_difference
from kalign.training import (
    adapters,
    arguments,
    checkpoints,
    dpo,
    inputs,
    limits,
    looks,
    report,
    results,
)
from kalign.training import ranks as waiting
from kalign.training.example_report import SHOWN, say
from kalign.training.looks import Look
from kalign.training.progress import Progress
from kalign.training.steady import Steady

Read = Callable[[Recipe], Examples]
# Makes the trainer of a method: from recipe, run, base, chat, examples, and what all methods share
Build = Callable[..., Steady]
IDS = pyarrow.list_(pyarrow.int32())
COLUMNS = {"example": "int64", "prompt_ids": IDS, "answer_ids": IDS}


def train(recipe: Recipe, console: Console, notice: Notice, *, read: Read, make: Build) -> Run:
    """Train what the recipe describes, or go on where an earlier call of the same command stopped.

    Args:
        notice: where a signal is noted, so that the training stops with a checkpoint.
        read: gives the examples that the recipe names, the same ones each time.
        make: makes the method's trainer.

    Returns:
        The run, finished: `adapter/` holds the adapter, `result.json` what changed.

    Raises:
        KalignError: of the category that says who can mend it.
    """

    def finished(run: Run) -> None:
        inputs.require_data(read(recipe).identity, run)
        console.print(
            f"{run.path} is finished; nothing was changed. Remove it to train again.", soft_wrap=True
        )
        say(run, console)

    return dpo.in_folder(
        recipe,
        console,
        train=lambda run: _train(recipe, run, console, notice, read, make),
        finished=finished,
    )


def _train(recipe: Recipe, run: Run, console: Console, notice: Notice, read: Read, make: Build) -> None:
    console.print(f"{recipe.name} → {run.path}", soft_wrap=True)
    console.print(recipe.model.licence.sentence(), style="dim", soft_wrap=True)
    started = time.monotonic()
    ranks = arguments.connected(recipe)
    located = loading.locate(recipe.model)
    chat = promises.load_chat(recipe.model, located)
    examples = read(recipe)
    console.print(examples.notice, style="dim", soft_wrap=True)
    if ranks.is_main_process:
        prepare(recipe, run, located, chat, examples, console)
    waiting.wait()
    trainer = make(recipe, run, located, chat, examples)
    trainer.add_callback(Progress(SHOWN))
    adapters.require_language_only(trainer.model, recipe.adapter.target_modules)
    resumed = dpo.resume_point(run, ranks, console)
    with limits.explained(run):
        first = ranks.is_main_process
        before = looks.look(recipe, trainer, chat, examples, adapter=False) if first else looks.NOTHING
        waiting.wait()
        again = trainer.order.sentence() if trainer.order else ""
        console.print(
            f"Training {checkpoints.trained_weights(trainer.model):,} adapter weights by {recipe.method} on "
            f"{len(trainer.train_dataset):,} examples, {recipe.trainer.pairs_per_step} a step"
            + (f"; {again}" if again else "")
            + (f"; going on from {resumed}" if resumed else ""),
            soft_wrap=True,
        )
        dpo.learn(trainer, resumed, notice)
        if ranks.is_main_process:
            after = looks.look(recipe, trainer, chat, examples, adapter=True)
            results.save_adapter(recipe, run, trainer, chat)
            pace = results.pace(trainer, checkpoints.step(resumed) if resumed else 0)
            seconds = round(time.monotonic() - started, 1)
            conclude(recipe, run, trainer, examples, before, after, {"seconds": seconds, "pace": pace})
            say(run, console)
    waiting.wait()


def prepare(
    recipe: Recipe, run: Run, located: Located, chat: Chat, examples: Examples, console: Console
) -> None:
    """Tokenise the examples into the run's folder, unless an earlier call has; write its manifest.

    Raises:
        DataError: too many examples are too long, or none is left.
        IntegrityError: the run was begun with other inputs.
    """
    noted = {
        "data": dict(examples.identity),
        "template_sha256": chat.template_sha256,
        "tokenizer_sha256": chat.tokenizer_sha256,
        "base": loading.base_identity(located),
    }
    for name, count in examples.facts.items():
        console.print(f"{count:>12,}  {name}", style="dim", soft_wrap=True)
    if examples.pairs:
        ledger.write(run.ledger, examples.pairs.lines)
        report.print_ledger(console, examples.pairs.summary, run.ledger)
        build.require_acceptable(examples.pairs, recipe.data)
    tokens = run.pairs / "train.parquet"
    if run.manifest.exists() and tokens.exists():
        inputs.note(recipe, run, noted, {})
        return
    kept, too_long = tokenised(examples.train, chat, recipe.data.max_length)
    share = too_long / len(examples.train)
    if share > recipe.data.max_drop_share or not kept:
        raise DataError(
            f"{too_long} of {len(examples.train)} examples are longer than data.max_length="
            f"{recipe.data.max_length} tokens, more than data.max_drop_share={recipe.data.max_drop_share:g}; "
            "raise one of them"
        )
    console.print(f"{len(kept):>12,}  examples trained on ({too_long} too long)", soft_wrap=True)
    counted: dict[str, Any] = {**examples.facts, "trained on": len(kept), "too long": too_long}
    if examples.pairs:
        counted = examples.pairs.summary.as_dict()
    files.write_parquet(tokens, kept, COLUMNS)
    inputs.note(recipe, run, noted, counted)


def account(examples: Examples) -> Mapping[str, int]:
    """What was counted while the examples were made."""
    return examples.pairs.summary.facts if examples.pairs else examples.facts


def tokenised(examples: Sequence[Example], chat: Chat, longest: int) -> tuple[list[dict[str, Any]], int]:
    """The ids of each example that fits, and how many do not.

    Raises:
        DataError: the chat template cannot keep an example exact.
    """
    kept = []
    too_long = 0
    for number, example in enumerate(tqdm(examples, desc="tokenising", unit="example", leave=False)):
        if example.pair:
            ids = {"prompt_ids": example.pair.prompt_ids, "answer_ids": example.pair.chosen_ids}
            kept.append({"example": number, **ids})
            continue
        said = (Message(role="assistant", content=example.answer or ""),)
        try:
            prompt, answer = chat.exchange_ids(example.prompt, said)
        except UnusableTriplet as wrong:
            raise DataError(f"example {example.id}: {wrong}") from wrong
        if len(prompt) + len(answer) > longest:
            too_long += 1
            continue
        kept.append({"example": number, "prompt_ids": prompt, "answer_ids": answer})
    return kept, too_long


def rows(run: Run) -> Dataset:
    """The tokenised examples: `example` is the place in the examples that were read.

    Raises:
        IntegrityError: they cannot be read.
    """
    try:
        return Dataset(pyarrow.parquet.read_table(run.pairs / "train.parquet"))
    except (OSError, pyarrow.ArrowException) as wrong:
        raise IntegrityError(
            f"{run.pairs / 'train.parquet'} is damaged; remove {run.path} and run the same command again"
        ) from wrong


def conclude(
    recipe: Recipe,
    run: Run,
    trainer: Steady,
    examples: Examples,
    before: Look,
    after: Look,
    took: Mapping[str, Any],
) -> None:
    """Write curves, answers and result; the result comes last, because it is what makes a run finished."""
    files.write_jsonl(run.history, trainer.state.log_history)
    put = looks.asked(recipe, examples)
    said = [
        {"id": example.id, "group": _named(example), "before": old, "after": new}
        for example, old, new in zip(put, before.answers, after.answers, strict=True)
    ]
    files.write_jsonl(run.answers, said)
    result = {
        "run": run.path.name,
        "method": recipe.method,
        "adapter": str(run.adapter),
        "adapter_sha256": files.sha256(run.adapter / checkpoints.WEIGHTS),
        "steps": trainer.state.global_step,
        **took,
        "licence": asdict(recipe.model.licence),
        "data_notice": examples.notice,
        "train_pairs": len(trainer.train_dataset),
        "held_out": {"examples": len(examples.held_out if examples.pairs else put)}
        | changes(put, before.answers, after.answers, examples.score)
        | looks.likelihoods(examples, before, after),
        "answers": said[: recipe.evaluation.generations],
        "tokens": {name: count for name, count in account(examples).items() if name.startswith("tokens ")},
        "markers": looks.markers(recipe, examples, after),
    }
    files.write_json(run.result, result)


def _named(example: Example) -> str:
    """What a reader knows an example by: its group, or the prompt where a group is only a hash."""
    return text(example.prompt) if example.pair else example.group


def changes(
    examples: Sequence[Example], before: Sequence[str], after: Sequence[str], score: Score
) -> dict[str, Any]:
    """Each number before and after, and the change, with 95 % bootstrap intervals over groups of examples."""
    old, new = (
        [score(example, answer) for example, answer in zip(examples, said, strict=True)]
        for said in (before, after)
    )
    changed: dict[str, Any] = {}
    for name in dict.fromkeys(name for row in old + new for name in row):
        places = [place for place in range(len(examples)) if name in old[place] and name in new[place]]
        if not places:
            continue
        was, now = ([row[place][name] for place in places] for row in (old, new))
        clusters = [examples[place].group for place in places]
        changed[name] = {
            "before": asdict(mean_interval(was, clusters=clusters)),
            "after": asdict(mean_interval(now, clusters=clusters)),
            "change": asdict(paired_difference(was, now, clusters=clusters)),
        }
    return changed
