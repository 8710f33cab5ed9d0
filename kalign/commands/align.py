"""kalign eval suite=align: a model on word associations, beside its base and the controls of a claim."""

import argparse
import dataclasses
import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kalign.commands.command import console, loading_libraries
from kalign.config import words as plain
from kalign.errors import ConfigError, IntegrityError

if TYPE_CHECKING:
    from rich.console import Console

    from kalign.associations.evaluate import Questions
    from kalign.associations.measure import Arm
    from kalign.config import Recipe
    from kalign.evaluation.subjects import Subject

TAKEN = ("base", "base_shot", "model")  # arms that are not the user's to name
SETTINGS: dict[str, str | None] = {
    "suite": "align",
    "model": None,
    "base": "false",
    "family": None,
    "other": None,
    "other_culture": "other",
    "other_where": None,
    "survey": None,
    "language": "en",
    "source": None,
    "target": None,
    "orders": "2",
    "lexicon": None,
    "lexicon_word": "word",
    "scales": None,
    "shot": None,
    "compat": "false",
    "batch": "16",
    "max_new_tokens": None,
    "out": None,
}
ABOUT = """
Word associations, suite=align:
  data.path=FILE  the norms (an ALIGN run knows its own; else recipe=NAME says how they are asked)
  arms.shuffled=RUN, arms.other=RUN  the controls
  other=FILE other_culture=NAME  another culture's norms
  survey=FILE source=COUNTRY target=COUNTRY  a survey, and between which countries answers lie
  lexicon=FILE scales=NAME=COLUMN:LOW:HIGH:TO_LOW:TO_HIGH,...  values of words
  shot=CUE  an arm more: the base shown one example
  compat=true  the survey with the published code's defects, and P@5 as it reads lists, too
"""
DEPTHS = (5, 10, 20, 30, 40, 50)  # the k of P@k that the publication gives


def _beside(other: str, own: str) -> dict[str, str | None]:
    files = {"other": f"bundled:{other}", "survey": "bundled:survey", "lexicon": "bundled:feelings"}
    return {**files, "other_culture": other, "source": other, "target": own}


# What the bundled cultures are measured with where the user says nothing else
BUNDLED: Mapping[str, dict[str, str | None]] = {
    "bundled:hill": _beside("shore", "hill"),
    "bundled:shore": _beside("hill", "shore"),
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A model that a word names, and the manifest of the run that trained it on norms, if one did."""

    reference: str
    subject: "Subject"
    written: Mapping[str, Any] | None  # the run's manifest


def measure(words: list[str], flags: argparse.Namespace) -> int:
    """Measure a model on held-out cues of norms; its base, its controls, a survey and a lexicon beside it."""
    said, references, settings = _words(words)
    with loading_libraries():
        from kalign.associations import asking, measure_report
        from kalign.associations import measure as measuring

    named = _named(said, references)
    recipe = _recipe(named["model"], settings)
    given: dict[str, str | None] = {**SETTINGS, **BUNDLED.get(str(recipe.data.path), {}), **said}
    shown = console(flags)
    asked, left_out = _questions(given, recipe, named, shown)
    tokens = str(given["max_new_tokens"] or recipe.evaluation.max_new_tokens)
    how = {
        "max_new_tokens": plain.count("max_new_tokens", tokens),
        "batch": plain.count("batch", str(given["batch"])),
    }
    arms = {name: _arm(one.subject, how) for name, one in named.items()}
    if given["shot"] and "base" in arms:
        example = asking.example(str(given["shot"]), asked, recipe)
        arms["base_shot"] = dataclasses.replace(arms["base"], shot=example)
    ordered = {name: arms[name] for name in sorted(arms, key=_place)}
    subject = named["model"].subject
    folder = _folder(given, subject.name, ordered, how, asked)
    shown.print(f"{subject.name} → {folder}", soft_wrap=True)
    about = {
        "norms": {"path": asked.own.where, "sha256": asked.own.sha256, "licence": asked.own.licence},
        **{key: given[key] for key in ("other", "survey", "lexicon", "shot")},
        "cues_left_out": left_out,
    }
    document = measuring.measure(ordered, asked, folder, how=how, about=about, console=shown)
    measure_report.say(document, shown, folder)
    if flags.json:
        print((folder / measure_report.FILE).read_text(encoding="utf-8"), end="")
    return 0


def _words(words: Sequence[str]) -> tuple[dict[str, str | None], dict[str, str], list[str]]:
    """The command's own words, the models of arms.NAME=MODEL, and the settings of the recipe.

    Raises:
        ConfigError: a word is none of these or given twice, or a value is not of its kind.
    """
    given: dict[str, str | None] = {}
    arms: dict[str, str] = {}
    settings = []
    keys = [word.partition("=")[0] for word in words]
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"{word!r} is one word too many; write model={word}")
        if keys.count(key) > 1:
            raise ConfigError(f"{key} is given twice; give it once")
        if key in SETTINGS:
            given[key] = None if value in ("null", "none", "false") else value
        elif key.startswith("arms."):
            arms[_free(key.removeprefix("arms."))] = value
        elif key == "recipe" or key.startswith(("data.", "associations.")):
            settings.append(word)
        else:
            near = difflib.get_close_matches(key, [*SETTINGS, "recipe", "arms.shuffled", "data.path"], n=1)
            raise ConfigError(f"{key} is no setting here; did you mean {near[0] if near else 'recipe'}?")
    plain.require_model(given)
    if given.get("compat") not in (None, "true"):
        raise ConfigError(f"compat={given['compat']} must be true or false")
    if given.get("shot") and not given.get("base"):
        raise ConfigError("shot=CUE shows the base an example, and base= names none; add base=true")
    return given, arms, settings


def _free(name: str) -> str:
    """The name of an arm, refused where the command gives it to another model."""
    if name in TAKEN or not name.isidentifier():
        raise ConfigError(
            f"arms.{name} cannot name a control; use arms.shuffled, arms.other or a word of your own"
        )
    return name


def _place(arm: str) -> tuple[int, str]:
    """Base and model stand before the controls."""
    return (TAKEN.index(arm) if arm in TAKEN else len(TAKEN), arm)


def _named(given: Mapping[str, str | None], references: Mapping[str, str]) -> dict[str, Asked]:
    """Every model that the words name.

    Raises:
        ConfigError: one cannot be found, or gives no log-likelihoods.
        IntegrityError: two of them are the same.
    """
    family = given.get("family")
    named = {"model": _found("model", str(given["model"]), family)}
    base = given.get("base")
    if base == "true":
        named["base"] = Asked(reference="base", subject=named["model"].subject.base(), written=None)
    elif base:
        named["base"] = _found("base", base, family)
    for name, reference in references.items():
        named[name] = _found(f"arms.{name}", reference, family)
    for name, one in named.items():
        if one.subject.provider is not None:
            raise ConfigError(
                f"{one.reference} ({name}) is an endpoint, which gives no log-likelihoods of options; "
                "give a run or a folder of weights"
            )
    identities: dict[str, str] = {}
    for name, one in named.items():
        identity = json.dumps(one.subject.identity(), sort_keys=True, default=str)
        if identity in identities:
            raise IntegrityError(
                f"{identities[identity]} and {name} have the same weights, so there is nothing to compare; "
                "name another model"
            )
        identities[identity] = name
    return named


def _found(word: str, reference: str, family: str | None) -> Asked:
    """A model, and the recipe that is written in its run's folder."""
    from kalign.evaluation import subjects
    from kalign.runs import Run

    subject = subjects.resolve(reference, family)
    place = Path(reference).expanduser()
    run = Run(place.parent if place.name == "adapter" else place)
    written = None
    if run.manifest.is_file():
        content = run.read_manifest()
        if content["recipe"].get("method", "dpo") != "dpo":
            written = content
    return Asked(reference=f"{word}={reference}", subject=subject, written=written)


def _recipe(model: Asked, settings: list[str]) -> "Recipe":
    """The recipe whose settings say what is asked: the model's own, or that of recipe=NAME.

    Raises:
        ConfigError: neither is there.
        IntegrityError: the norms of the run have changed since.
    """
    from kalign import files
    from kalign.associations import norms
    from kalign.config import compose

    if any(word.startswith("recipe=") for word in settings):
        return compose.load(settings)
    if model.written is None:
        raise ConfigError(
            f"{model.reference} was not trained on word associations, so nothing says what it is asked; give "
            "recipe=align_us data.path=FILE, or recipe=tiny_align for the bundled cultures"
        )
    recipe = compose.again(model.written["recipe"], settings)
    known = model.written["inputs"]["data"]["norms"]
    place = norms.located(str(recipe.data.path))
    if recipe.data.path == known["path"] and place.is_file() and files.sha256(place) != known["sha256"]:
        raise IntegrityError(
            f"{place} is not the file that {model.reference} was trained on; give that one, data.path=FILE"
        )
    return recipe


def _questions(
    given: Mapping[str, str | None], recipe: "Recipe", named: Mapping[str, Asked], shown: "Console"
) -> "tuple[Questions, int]":
    """What is asked, and how many held-out cues are not, because a model was trained on them."""
    from kalign.associations import asking
    from kalign.config import compose

    made = [compose.again(one.written["recipe"], []) for one in named.values() if one.written]
    seen = {cue for one in made for cue in asking.trained(one)}
    beside = asking.Beside(
        other=given["other"],
        other_culture=str(given["other_culture"]),
        other_where=plain.listed(given["other_where"]),
        survey=given["survey"],
        language=str(given["language"]),
        source=given["source"] or "",
        target=given["target"] or "",
        orders=plain.count("orders", str(given["orders"])),
        lexicon=given["lexicon"],
        lexicon_word=str(given["lexicon_word"]),
        scales=plain.listed(given["scales"]),
        depths=DEPTHS,
        compat=given["compat"] == "true",
    )
    asked = asking.questions(recipe, beside, without=seen)
    shown.print(asked.own.licence, style="dim", soft_wrap=True)
    for key in ("other", "survey", "lexicon"):
        if not given[key]:
            shown.print(f"{key}= is not given, so nothing is measured with it", style="dim", soft_wrap=True)
    held_out = asking.held_out(recipe, asked.own)
    left_out = len(seen & set(held_out))
    if left_out:
        shown.print(
            f"{left_out} of {len(held_out)} held-out cues are left out, because one of the models was "
            "trained on them; train all with one data.seed and associations.split",
            soft_wrap=True,
        )
    return asked, left_out


def _arm(subject: "Subject", how: Mapping[str, Any]) -> "Arm":
    """The model as one that can be asked, and loaded only when it is."""
    from kalign.associations import speaker
    from kalign.associations.measure import Arm

    return Arm(
        title=subject.name,
        identity=subject.identity(),
        speak=lambda: speaker.Speaker(subject.model, subject.quantization, subject.adapter, **how),
    )


def _folder(
    given: Mapping[str, str | None],
    name: str,
    arms: "Mapping[str, Arm]",
    how: Mapping[str, Any],
    asked: "Questions",
) -> Path:
    """The folder that models and questions decide, unless the user names one."""
    from kalign.associations import hearing
    from kalign.evaluation import results

    decided = {
        "arms": {arm: [dict(one.identity), [turn.content for turn in one.shot]] for arm, one in arms.items()},
        "how": dict(how),
        "questions": hearing.digest(asked),
    }
    return results.folder(given["out"], f"align-{name}", decided)
