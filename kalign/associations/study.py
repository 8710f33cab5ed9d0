"""The whole of ALIGN in one study: prepare, fine-tune, rank, evaluate, report; with its controls, resumable.

| arm | is |
|---|---|
| base | the model as it is |
| sft | fine-tuned on the own culture's lists |
| shuffled | the same examples and steps, each cue with another cue's associates: form without content |
| other | fine-tuned on the other culture's lists |
| rank | the base, rewarded for ranking the own culture's associates |
| sft_rank | the fine-tuned model, merged, rewarded for ranking |

Every training is a run of its own, found again by what determines it; every model's answers are kept in a
file. So a study that was stopped goes on where it stopped.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console

from kalign import files, runs
from kalign.associations import asking, evaluate, hearing, speaker, study_report
from kalign.associations.evaluate import Questions
from kalign.config import Recipe, compose
from kalign.errors import ConfigError
from kalign.runs import Run

Train = Callable[[Recipe], Run]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a study is made of; `words` are settings of all its recipes."""

    recipe: str
    rank: str | None
    words: Sequence[str]
    other: str | None
    other_culture: str
    other_where: Sequence[str]
    survey: str | None
    source: str
    target: str
    lexicon: str | None
    lexicon_word: str
    scales: Sequence[str]
    seeds: Sequence[int]
    chain: bool
    compat: bool
    out: Path


def run(wanted: Wanted, train: Train, console: Console) -> dict[str, Any]:
    """Run what is left of the study, and write answers, study.json and report.html.

    Args:
        train: trains a recipe, or finds its finished run.

    Raises:
        KalignError: a file, a setting or a training is wrong.
    """
    wanted.out.mkdir(parents=True, exist_ok=True)
    seeds = []
    for seed in wanted.seeds:
        console.print(f"Seed {seed}", style="bold")
        seeds.append(_seed(wanted, seed, train, console))
    document = {
        "study": "align",
        "wanted": {
            key: str(value) if isinstance(value, Path) else value for key, value in asdict(wanted).items()
        },
        "versions": runs.versions(),
        "mean": summary(seeds),
        "seeds": seeds,
    }
    files.write_json(wanted.out / "study.json", document)
    with files.atomic(wanted.out / "report.html") as partial:
        partial.write_text(study_report.page(document), encoding="utf-8")
    return document


def recipes(wanted: Wanted, seed: int) -> dict[str, Recipe]:
    """The recipe of each arm that is trained from the base.

    Raises:
        ConfigError: a word is wrong, there are no norms, or a recipe's method is not its arm's.
    """
    words = [f"recipe={wanted.recipe}", *wanted.words, f"trainer.seed={seed}", f"data.seed={seed}"]
    found = {"sft": compose.load(words)}
    if not found["sft"].data.path:
        raise ConfigError(
            "data.path is not set; give the own culture's norms, such as data.path=bundled:hill"
        )
    if found["sft"].method != "sft":
        raise ConfigError(f"recipe={wanted.recipe} has method={found['sft'].method}; a study starts from sft")
    found["shuffled"] = compose.load([*words, "associations.shuffle_cues=true"])
    if wanted.other:
        found["other"] = compose.load(words)
        found["other"].data.path = wanted.other
        found["other"].associations.culture = wanted.other_culture
        found["other"].associations.where = list(wanted.other_where)
    if wanted.rank:
        found["rank"] = compose.load([f"recipe={wanted.rank}", *words[1:]])
        if found["rank"].method not in ("rloo", "grpo"):
            raise ConfigError(
                f"rank={wanted.rank} has method={found['rank'].method}; use one with rloo or grpo"
            )
    return found


def _seed(wanted: Wanted, seed: int, train: Train, console: Console) -> dict[str, Any]:
    """One seed: its trainings, every arm's answers, and the document of its evaluation."""
    arms = recipes(wanted, seed)
    asked = _questions(wanted, arms["sft"], arms.get("rank"))
    heard: dict[str, Any] = {}
    made: dict[str, str | None] = {"base": None}
    heard["base"] = _heard(wanted, arms["sft"], None, asked, f"base-{seed}", console)
    for name, recipe in arms.items():
        run = train(recipe)
        made[name] = str(run.path)
        heard[name] = _heard(wanted, recipe, run, asked, run.path.name, console)
    if wanted.chain and "rank" in arms:
        recipe = arms["rank"]
        recipe.model.repo, recipe.model.twin = (
            str(_merged(wanted, arms["sft"], Path(str(made["sft"])))),
            False,
        )
        recipe.name = f"{recipe.name}_after_sft"
        run = train(recipe)
        made["sft_rank"] = str(run.path)
        heard["sft_rank"] = _heard(wanted, recipe, run, asked, run.path.name, console)
    return {"seed": seed, "runs": made} | evaluate.compared(heard, asked)


def _merged(wanted: Wanted, recipe: Recipe, run: Path) -> Path:
    """The fine-tuned model as a folder; what determines it is in its name, so it is made once."""
    out = wanted.out / "merged" / run.name
    if not (out / "config.json").exists():
        partial = out.with_name(f".{out.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        speaker.merge(recipe, run / "adapter", partial)
        partial.rename(out)
        speaker.free()
    return out


def _heard(
    wanted: Wanted, recipe: Recipe, run: Run | None, asked: Questions, name: str, console: Console
) -> dict[str, Any]:
    """What one model answers: read from its file as far as the same was asked of the same model before."""
    model = asdict(recipe.model) if run is None else run.read_result()["adapter_sha256"]
    whose = {"model": model, "max_new_tokens": recipe.evaluation.max_new_tokens}
    place = runs.fingerprint({"whose": whose, "questions": hearing.digest(asked)})[:8]
    return hearing.collect(
        wanted.out / "answers" / f"{name}-{place}.jsonl",
        asked,
        lambda: speaker.of_recipe(recipe, run.adapter if run else None),
        whose=whose,
        console=console,
        name=name,
    )


def _questions(wanted: Wanted, recipe: Recipe, rank: Recipe | None) -> Questions:
    beside = asking.Beside(
        other=wanted.other,
        other_culture=wanted.other_culture,
        other_where=wanted.other_where,
        survey=wanted.survey,
        source=wanted.source,
        target=wanted.target,
        lexicon=wanted.lexicon,
        lexicon_word=wanted.lexicon_word,
        scales=wanted.scales,
        compat=wanted.compat,
    )
    return asking.questions(recipe, beside, settings=rank.associations if rank else None)


def summary(seeds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Arm → part → number → the mean over seeds, with the lowest and the highest seed."""
    found: dict[str, Any] = {}
    for arm in seeds[0]["arms"]:
        for part, numbers in seeds[0]["arms"][arm].items():
            for name in numbers:
                values = [
                    seed["arms"][arm][part][name]["value"]
                    for seed in seeds
                    if name in seed["arms"].get(arm, {}).get(part, {})
                ]
                found.setdefault(arm, {}).setdefault(part, {})[name] = {
                    "value": fmean(values),
                    "low": min(values),
                    "high": max(values),
                }
    return found
