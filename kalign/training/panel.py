"""A small panel of the pack's held-out prompts, answered every few steps and judged by rules: whether the
model grows safe, whether it turns away harmless requests too, and whether its answers keep their length.

It watches and changes nothing: a training ends with the same weights, bit for bit, with and without it.
"""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date
from itertools import chain, zip_longest
from typing import Any

import numpy
import torch
from torch import nn
from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from kalign import files
from kalign.config import Recipe
from kalign.data import marking
from kalign.errors import ConfigError
from kalign.grounding import refusal
from kalign.grounding.refusal import Verdict
from kalign.models.answers import equally_long, greedy
from kalign.models.chat import Chat
from kalign.records import Said
from kalign.runs import Run
from kalign.statistics import mean, wilson
from kalign.training import behaviour, written
from kalign.training import ranks as waiting
from kalign.training.behaviour import HeldOutPrompt
from kalign.training.trainer import PairTrainer


def asked(recipe: Recipe) -> list[HeldOutPrompt]:
    """The prompts of the panel: harmful ones and their benign twins, in turns over the categories; the same
    ones in every run.

    Raises:
        ConfigError: the pack has not so many.
    """
    count = recipe.evaluation.panel_prompts
    if not recipe.evaluation.panel_every:
        return []
    every = behaviour.prompts(recipe.pack)
    twins = {prompt.twin: prompt for prompt in every if prompt.twin}
    by_category: dict[str, list[HeldOutPrompt]] = {}
    for prompt in every:
        if prompt.id in twins:
            by_category.setdefault(prompt.category, []).append(prompt)
    in_turns = [prompt for prompt in chain(*zip_longest(*by_category.values())) if prompt]
    if not in_turns:
        raise ConfigError(
            f"evaluation.panel_every={recipe.evaluation.panel_every} asks harmful prompts and their benign "
            f"twins, and pack {recipe.pack} holds out none; use evaluation.panel_every=0"
        )
    if count % 2 or count // 2 > len(in_turns):
        raise ConfigError(
            f"evaluation.panel_prompts={count} is no even number up to {2 * len(in_turns)}, the harmful "
            f"prompts of pack {recipe.pack} with their twins; use {min(count // 2, len(in_turns)) * 2}"
        )
    harmful = in_turns[: count // 2]
    return [*harmful, *(twins[prompt.id] for prompt in harmful)]


class Panel(TrainerCallback):
    """Asks the panel before the first step and after every `evaluation.panel_every` steps.

    Its numbers go to the trackers and the progress bar by the way that logs go, and every look into the run's
    `panel.jsonl`, which the first process writes.
    """

    def __init__(
        self, recipe: Recipe, run: Run, trainer: PairTrainer, chat: Chat, prompts: Sequence[HeldOutPrompt]
    ) -> None:
        self.recipe = recipe
        self.run = run
        self.trainer = trainer
        self.chat = chat
        self.prompts = prompts
        self.looks: list[dict[str, Any]] = []

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Take up the looks of an earlier call up to the step that it goes on from; look at the base."""
        kept = []
        if state.is_world_process_zero and state.global_step and self.run.panel.exists():
            kept = [row for _, row in files.read_jsonl(self.run.panel, own=True)]
        kept = waiting.told(kept)
        self.looks = [look for look in kept if look["step"] <= state.global_step]
        if not state.global_step:
            self._look(args, state, control)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Look where it is time."""
        if state.global_step % self.recipe.evaluation.panel_every == 0:
            self._look(args, state, control)

    def _look(self, args: TrainingArguments, state: TrainerState, control: TrainerControl) -> None:
        started = time.monotonic()
        said = self._answers()
        row = None
        if state.is_world_process_zero:
            texts = [marking.strip_markers(one.text) for one in said]
            verdicts = behaviour.verdicts(self.recipe.pack, self.prompts, texts, date.today())
            row = {"step": state.global_step, **found(self.prompts, said, verdicts)}
            row["seconds"] = round(time.monotonic() - started, 1)
        self.looks.append(waiting.told(row))
        if state.is_world_process_zero:
            files.write_jsonl(self.run.panel, self.looks)
        log_is_due = control.should_log  # a log would take it for done
        self.trainer.callback_handler.on_log(args, state, control, numbers(self.looks[-1]))
        control.should_log = log_is_due

    def _answers(self) -> list[Said]:
        """Every answer, in order. Each process answers a part of the groups, which are the same for every
        number of processes; where the model is divided, all answer together."""
        asked = [self.chat.prompt_ids(written.asked(self.recipe, one.conversation)) for one in self.prompts]
        groups = list(equally_long(asked, self.recipe.trainer.per_device_eval_batch_size))
        rank, ranks = self.trainer.accelerator.process_index, self.trainer.accelerator.num_processes
        own = groups if self.trainer.divided else groups[rank::ranks]
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        said: dict[int, Said] = {}
        with undisturbed(model), self.trainer.accelerator.autocast():
            for places in own if rank else tqdm(own, desc="asking the panel", leave=False):
                told = greedy(
                    model,
                    [asked[place] for place in places],
                    self.chat.tokenizer,
                    turn_end=self.chat.turn_end_id,
                    max_new_tokens=self.recipe.evaluation.max_new_tokens,
                    together=self.trainer.divided,
                )
                said |= dict(zip(places, told, strict=True))
        for part in [] if self.trainer.divided else waiting.gathered(said):
            said |= part
        return [said[place] for place in range(len(asked))]


def found(
    prompts: Sequence[HeldOutPrompt], said: Sequence[Said], verdicts: Sequence[Verdict]
) -> dict[str, Any]:
    """What one look found, as plain values: shares and the mean length with 95 % intervals, and each answer.

    Harmful prompts count as safe where the rules see that they were declined, benign ones as refused where
    they see that they were not answered; what they cannot tell is counted beside it.
    """
    safe = [verdict.declines for one, verdict in zip(prompts, verdicts, strict=True) if one.kind == "harmful"]
    answered = [
        refusal.answered(verdict)
        for one, verdict in zip(prompts, verdicts, strict=True)
        if one.kind == "benign"
    ]
    return {
        "harmful": {
            "prompts": len(safe),
            "safe": asdict(wilson(safe.count(True), len(safe))),
            "unclear": safe.count(None),
        },
        "benign": {
            "prompts": len(answered),
            "refused": asdict(wilson(answered.count(False), len(answered))),
            "unclear": answered.count(None),
        },
        "tokens": asdict(mean([one.tokens for one in said])),
        "cut_off": asdict(wilson(sum(not one.whole for one in said), len(said))),
        "answers": [
            {
                "id": one.id,
                "kind": one.kind,
                "answer": answer.text,
                "declines": verdict.declines,
                "answered": refusal.answered(verdict),
            }
            for one, answer, verdict in zip(prompts, said, verdicts, strict=True)
        ],
    }


def numbers(look: dict[str, Any]) -> dict[str, float]:
    """The numbers of a look, as trackers show them."""
    return {
        "panel/safe": look["harmful"]["safe"]["value"],
        "panel/benign_refused": look["benign"]["refused"]["value"],
        "panel/tokens": look["tokens"]["value"],
        "panel/cut_off": look["cut_off"]["value"],
    }


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation without gradients; the mode of every module and every random state are put back after it."""
    modes = [(module, module.training) for module in model.modules()]
    cuda = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    of_python, of_numpy = random.getstate(), numpy.random.get_state()
    try:
        with torch.random.fork_rng(devices=cuda), torch.no_grad():
            model.eval()
            yield
    finally:
        for module, training in modes:
            module.training = training
        random.setstate(of_python)
        numpy.random.set_state(of_numpy)
