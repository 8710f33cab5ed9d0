"""What a sweep is asked to do: along which settings, how often, by which rule, and what counts as better."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kalign import runs
from kalign.config import Recipe, compose
from kalign.config import words as plain
from kalign.config.rules import above, one_of
from kalign.errors import ConfigError
from kalign.sweeps import space
from kalign.sweeps.space import Dimension

SEARCHES = ("tpe", "random", "grid")
PRUNINGS = ("none", "median", "halving")
TRIALS = 20


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What is compared between trials: where it stands in the curves, and whether more is better."""

    name: str
    curve: str  # its name in history.jsonl, on the held-out pairs
    larger: bool = True
    tainted_by: str = ""  # settings that change its scale, so that trials cannot be compared by it


OBJECTIVES: Mapping[str, Objective] = {
    "reward_accuracy": Objective(name="held-out accuracy", curve="eval_rewards/accuracies"),
    "reward_margin": Objective(name="held-out margin", curve="eval_rewards/margins", tainted_by="loss.beta"),
    "eval_loss": Objective(name="held-out loss", curve="eval_loss", larger=False, tainted_by="loss."),
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One sweep."""

    words: tuple[str, ...]  # of the recipe, the same in every trial
    dimensions: tuple[Dimension, ...]
    search: str
    trials: int
    pruning: str
    objective: str
    seed: int
    recipe: Recipe  # at one corner of the space

    @property
    def folder(self) -> Path:
        """Where its state lies; the same command finds it again, and more trials go on in it."""
        determining = {
            "recipe": self.recipe.determining(),
            "dimensions": [dimension.shown for dimension in self.dimensions],
            **{key: getattr(self, key) for key in ("search", "pruning", "objective", "seed")},
        }
        return runs.named(self.recipe.runs_path() / "sweeps", self.recipe.name, determining).path

    def trial_words(self, values: Mapping[str, Any]) -> list[str]:
        """The words of the training with these values."""
        own = [f"{each.key}={each.spelled(values[each.key])}" for each in self.dimensions]
        grouped = self.recipe.tracker.name == "wandb" and not self.recipe.tracker.group
        return [*self.words, *own, *([f"tracker.group={self.folder.name}"] if grouped else [])]

    def document(self) -> dict[str, Any]:
        """What is written down of it."""
        return {
            "words": list(self.words),
            "dimensions": [dimension.shown for dimension in self.dimensions],
            **{key: getattr(self, key) for key in ("search", "trials", "pruning", "objective", "seed")},
        }


def made(words: Sequence[str]) -> Plan:
    """The sweep that the words of a command line ask for.

    Raises:
        ConfigError: a word is wrong, or the sweep could not tell its trials apart.
    """
    kinds = {"search": str, "trials": int, "pruning": str, "objective": str, "search_seed": int}
    own, rest = plain.taken(words, **kinds)
    dimensions, common = space.divided(rest)
    search, pruning = own.get("search", "tpe"), own.get("pruning", "none")
    objective = own.get("objective", "reward_accuracy")
    one_of("search", search, SEARCHES)
    one_of("pruning", pruning, PRUNINGS)
    one_of("objective", objective, tuple(OBJECTIVES))
    if not dimensions:
        raise ConfigError(
            f"there is nothing to search along; write a setting such as loss.beta={space.FORMS}"
        )
    if search == "grid" and (endless := [each.shown for each in dimensions if not each.choices]):
        raise ConfigError(f"search=grid cannot try every value of {endless[0]}; write choice(A,B,...)")
    points = math.prod(len(dimension.choices) for dimension in dimensions)
    trials = own.get("trials", points if search == "grid" else TRIALS)
    above("trials", trials, 0)
    if search == "grid" and trials > points:
        raise ConfigError(f"trials={trials} is more than the {points} points of the grid; leave trials= away")
    recipe = _recipe(common, dimensions)
    _require_comparable(recipe, dimensions, pruning, objective)
    return Plan(
        words=tuple(common),
        dimensions=tuple(dimensions),
        search=search,
        trials=trials,
        pruning=pruning,
        objective=objective,
        seed=own.get("search_seed", 0),
        recipe=recipe,
    )


def _recipe(common: Sequence[str], dimensions: Sequence[Dimension]) -> Recipe:
    """The recipe at the first corner, after each dimension's bounds and choices were composed once.

    Raises:
        ConfigError: one of them is no value of its setting, or changes nothing.
    """
    corner = [dimension.tried()[0] for dimension in dimensions]
    recipe = compose.load([*common, *corner])
    for place, dimension in enumerate(dimensions):
        found = []
        for word in dimension.tried():
            tried = [*corner[:place], word, *corner[place + 1 :]]
            found.append(runs.fingerprint(compose.load([*common, *tried]).determining()))
        if len(set(found)) < len(found):
            raise ConfigError(
                f"{dimension.shown}: not every value of {dimension.key} gives another result, so trials "
                "could not be told apart; leave it out of the search"
            )
    return recipe


def _require_comparable(
    recipe: Recipe, dimensions: Sequence[Dimension], pruning: str, objective: str
) -> None:
    if recipe.method in ("rloo", "grpo"):
        raise ConfigError(
            f"method={recipe.method} leaves nothing that a sweep compares: the held-out pairs of dpo, "
            "or the held-out loss of dpo and sft; use kalign train -m, then kalign runs"
        )
    if recipe.method == "sft" and objective != "eval_loss":
        raise ConfigError(
            f"objective={objective} is of pairs, and method=sft learns none; use objective=eval_loss"
        )
    if not recipe.data.eval_share:
        raise ConfigError("data.eval_share=0 leaves no pairs to compare trials on; hold some out")
    tainted = OBJECTIVES[objective].tainted_by
    scaled = [each.key for each in dimensions if tainted and each.key.startswith(tainted)]
    if scaled:
        raise ConfigError(
            f"objective={objective} is on another scale for each {scaled[0]}, so it cannot compare them; use "
            "objective=reward_accuracy"
        )
    if recipe.trainer.eval_strategy == "no" and (pruning != "none" or objective == "eval_loss"):
        what = f"pruning={pruning}" if pruning != "none" else f"objective={objective}"
        raise ConfigError(
            f"{what} goes by evaluations during a training, and trainer.eval_strategy=no makes none; "
            "use steps"
        )
