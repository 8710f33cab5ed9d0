"""What a run ends with: held-out pairs and a few answers, before and after, in a file and on the screen."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from kalign import files, runs
from kalign.config import Recipe
from kalign.data import marking, sources, tags
from kalign.data.build import Pair, Pairs
from kalign.models.chat import Chat
from kalign.records import text
from kalign.runs import Run
from kalign.training import behaviour, divided, held_out, inputs, references, report, written
from kalign.training.behaviour import HeldOutPrompt
from kalign.training.held_out import Scores
from kalign.training.trainer import PairTrainer


@dataclass(frozen=True, kw_only=True)
class Look:
    """One model's scores of the held-out pairs, and its answers to held-out prompts."""

    scores: Scores
    said: list[str]  # to the prompts of the first pairs, with whatever markers the model wrote
    answers: list[str]  # to the pack's held-out prompts; empty unless the recipe asks for them

    @property
    def samples(self) -> list[str]:
        """What it answered to the prompts of the first pairs."""
        return list(map(marking.strip_markers, self.said))


def look(recipe: Recipe, trainer: PairTrainer, chat: Chat, held: Sequence[Pair], *, adapter: bool) -> Look:
    """Score the held-out pairs and let the model answer held-out prompts; where the model is divided, all
    processes do so together."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    autocast = trainer.accelerator.autocast
    batch = recipe.trainer.per_device_eval_batch_size

    def answer(prompts: list[list[int]]) -> list[str]:
        return held_out.answers(
            model,
            prompts,
            chat.tokenizer,
            turn_end=chat.turn_end_id,
            max_new_tokens=recipe.evaluation.max_new_tokens,
            batch=batch,
            adapter=adapter,
            autocast=autocast,
            together=trainer.divided,
        )

    scored = held_out.scores(references.of_trainer(trainer), held, batch=batch, adapter=adapter)
    asked = _asked(recipe)
    return Look(
        scores=scored,
        said=answer([pair.prompt_ids for pair in _shown(recipe, held)]),
        answers=list(
            map(
                marking.strip_markers,
                answer([chat.prompt_ids(written.asked(recipe, prompt.conversation)) for prompt in asked]),
            )
        ),
    )


def save_adapter(recipe: Recipe, run: Run, trainer: PairTrainer, chat: Chat) -> None:
    """Write the adapter beside the tokenizer and template that it was trained with, and what the licence of
    its base asks for; where the model is divided, all processes gather and the first one writes."""
    weights = divided.gathered(trainer.model) if trainer.divided else None
    if trainer.accelerator.is_main_process:
        _write_adapter(recipe, run, trainer, chat, weights)


def _write_adapter(
    recipe: Recipe, run: Run, trainer: PairTrainer, chat: Chat, weights: dict[str, torch.Tensor] | None
) -> None:
    trainer.model.save_pretrained(run.adapter, state_dict=weights)
    chat.tokenizer.save_pretrained(run.adapter)
    (run.adapter / "README.md").unlink()  # PEFT's card says nothing of this run
    base = f"the random twin of {recipe.model.repo}" if recipe.model.twin else recipe.model.repo
    licence = f"# Licence\n\nAn adapter for {base}. {recipe.model.licence.sentence()}\n"
    (run.adapter / "LICENCE.md").write_text(licence, encoding="utf-8")


def pace(trainer: PairTrainer, first_step: int) -> dict[str, Any]:
    """How fast this call trained, from the step it began at, evaluations included: what a plan goes by."""
    trained = trainer.state.global_step - first_step
    runtime = next(
        (log["train_runtime"] for log in reversed(trainer.state.log_history) if "train_runtime" in log), None
    )
    cuda = trainer.args.device.type == "cuda"
    return {
        "seconds_per_step": round(runtime / trained, 4) if runtime and trained else None,
        "device": torch.cuda.get_device_name() if cuda else "CPU",
        "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 3) if cuda else None,
        "ranks": trainer.accelerator.num_processes,
        "distributed": trainer.accelerator.distributed_type.value,  # what Accelerate made of the launch
    }


def conclude(
    recipe: Recipe,
    run: Run,
    trainer: PairTrainer,
    pairs: Pairs,
    before: Look,
    after: Look,
    seconds: float,
    pace: dict[str, Any],
) -> None:
    """Write curves and result; the result comes last, because it is what makes a run finished."""
    files.write_jsonl(run.history, trainer.state.log_history)
    compared = None
    if pairs.held_out:
        compared = held_out.comparison(pairs.held_out, before.scores, after.scores, beta=recipe.loss.beta)
    shown = [
        {"prompt": text(pair.triplet.prompt), "before": old, "after": new}
        for pair, old, new in zip(_shown(recipe, pairs.held_out), before.samples, after.samples, strict=True)
    ][: recipe.evaluation.generations]
    result = {
        "run": run.path.name,
        "adapter": str(run.adapter),
        "adapter_sha256": files.sha256(run.adapter / "adapter_model.safetensors"),
        "steps": trainer.state.global_step,
        "seconds": round(seconds, 1),  # of this call; an interrupted run's earlier calls are not in it
        "pace": pace,
        "licence": asdict(recipe.model.licence),
        "train_pairs": pairs.summary.train,
        "held_out": compared,
        "answers": shown,
        "behaviour": _behaviour(recipe, run, before, after),
        "tokens": {name: count for name, count in pairs.summary.facts.items() if name.startswith("tokens ")},
        "markers": written.compared(recipe, _shown(recipe, pairs.held_out), after.said),
    }
    files.write_json(run.result, result)


def _behaviour(recipe: Recipe, run: Run, before: Look, after: Look) -> dict[str, Any] | None:
    """Judge the answers to the pack's held-out prompts, write each one down, and count what changed."""
    asked = _asked(recipe)
    if not asked:
        return None
    today = date.today()
    judged = behaviour.verdicts(recipe.pack, [*asked, *asked], [*before.answers, *after.answers], today)
    old, new = judged[: len(asked)], judged[len(asked) :]
    said = list(zip(before.answers, after.answers, strict=True))
    files.write_jsonl(run.answers, behaviour.rows(asked, said, list(zip(old, new, strict=True))))
    return behaviour.compared(asked, old, new, today)


def say(run: Run, console: Console) -> None:
    """Print the tables of a finished run, and where everything lies."""
    result = json.loads(run.result.read_text(encoding="utf-8"))
    if result["held_out"]:
        report.print_comparison(console, result["held_out"])
    report.print_answers(console, result["answers"])
    if result["behaviour"]:
        report.print_behaviour(console, result["behaviour"])
        console.print(f"Every answer and what decided it: {run.answers}", soft_wrap=True)
    console.print(
        f"Adapter: {run.adapter} ({result['steps']} steps, {result['seconds']:.0f} s)",
        soft_wrap=True,
    )
    console.print(f"Curves: {run.history} · result: {run.result} · every row: {run.ledger}", soft_wrap=True)
    console.print(
        f"Next: kalign export run={run.path} out=FOLDER, or the same command with loss.beta=0.3",
        soft_wrap=True,
    )


def say_finished(recipe: Recipe, run: Run, console: Console) -> None:
    """Say that there is nothing left to do, unless the data are no longer those that were trained on."""
    digests = {name: sources.digest(source) for name, source in recipe.data.sources().items()}
    if recipe.data.tags:
        digests["data.tags"] = files.sha256(tags.sidecar(Path(recipe.data.tags)))
    recorded = {name: noted["sha256"] for name, noted in inputs.recorded(run)["inputs"]["data"].items()}
    runs.require_same({"data": recorded}, {"data": digests}, run)
    console.print(f"{run.path} is finished; nothing was changed. Remove it to train again.", soft_wrap=True)
    say(run, console)


def _shown(recipe: Recipe, held: Sequence[Pair]) -> Sequence[Pair]:
    """The pairs whose prompts are answered: all of them where the markers that are written count."""
    return held if recipe.data.markers.mode == "inferred" else held[: recipe.evaluation.generations]


def _asked(recipe: Recipe) -> list[HeldOutPrompt]:
    return behaviour.prompts(recipe.pack) if recipe.evaluation.held_out_prompts else []
