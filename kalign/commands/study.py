"""The command of the six-model study: train, evaluate and tabulate all families, beside the paper's table."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kalign.commands.command import Command, console, loading_libraries, print_json
from kalign.commands.evaluation import ABILITIES
from kalign.errors import ConfigError

if TYPE_CHECKING:
    from kalign.evaluation.study.stages import Wanted

MODELS = "exaone,ax,kanana,qwen,gemma,llama"
SETTINGS: Mapping[str, Any] = {
    "models": str,
    "suite": str,
    "judge": str,
    "as_of": str,
    "batch": str,
    "max_new_tokens": str,
    "abilities": str,
    "launch": str,
    "ranks": int,
    "out": str,
}
# What a random model of a few thousand weights needs to show that everything runs, in minutes on a CPU
TWIN_WORDS = (
    "model.dtype=float32",
    "adapter.quantization.bnb_4bit_compute_dtype=float32",
    "trainer.bf16=false",
    "trainer.gradient_checkpointing=false",
    "trainer.learning_rate=1e-2",
    "trainer.max_steps=4",
    "trainer.pairs_per_step=8",
    "trainer.per_device_train_batch_size=4",
    "evaluation.panel_every=2",
    "evaluation.panel_prompts=8",
    "evaluation.max_new_tokens=8",
)
TWIN_TOKENS = "16"


def study(words: list[str], flags: argparse.Namespace) -> int:
    """Train, evaluate and tabulate six model families beside the paper's table; killed anywhere, the same
    command goes on, and a model that fails does not lose the others."""
    from kalign import preemption

    shown = console(flags)
    wanted = asked(words)
    if any(recipe.model.twin for recipe in wanted.recipes.values()):
        shown.print("Twins: tiny random models stand for the weights, and learn for a few steps", style="dim")
    with loading_libraries():
        from kalign.evaluation.study import findings, stages
        from kalign.evaluation.study import study as studying

    with preemption.passing_on() as children:
        document = studying.run(wanted, stages.Apart(children), shown)
    code = findings.say(document, shown, str(wanted.out))
    if flags.json:
        print_json(document)
    return code


def asked(words: Sequence[str]) -> "Wanted":
    """The study that the words describe; every recipe is composed, so that a wrong word is refused at once.

    Raises:
        ConfigError: a word is wrong.
    """
    from kalign.config import compose, launch
    from kalign.config import words as plain
    from kalign.evaluation.study.stages import Wanted

    own, rest = plain.taken(words, **SETTINGS)
    sets = dict(
        word.removeprefix("set.").split("=", 1) for word in rest if word.startswith("set.") and "=" in word
    )
    rest = [word for word in rest if not (word.startswith("set.") and "=" in word)]
    twin = any(word.lower() == "model.twin=true" for word in rest)
    common = _common(rest, twin)
    names = str(own.get("models", MODELS)).split(",")
    if not all(names):
        raise ConfigError(
            f"models={own['models']} leaves a name empty; write models={MODELS}, or some of them"
        )
    trained = {name: [*common, f"model={name}", *_settings(rest)] for name in names}
    recipes = {name: compose.load(each) for name, each in trained.items()}
    if len(recipes) < len(names):
        raise ConfigError(f"models={own['models']} names a model twice; name each once")
    devices = [f"{key}={own[key]}" for key in ("launch", "ranks") if key in own]
    if devices and "launch" not in own:
        raise ConfigError(f"ranks={own['ranks']} needs a profile to start them by; give launch=ddp too")
    for recipe in recipes.values() if devices else ():
        launch.require_supported(recipe, launch.profile(own["launch"], own.get("ranks")))
    out = Path(own.get("out", "study-ko")).expanduser()
    return Wanted(
        recipes=recipes,
        words=trained,
        launch=devices,
        suite=own.get("suite", recipes[names[0]].pack),
        judge=own.get("judge", "rules"),
        as_of=plain.day("as_of", own.get("as_of") or _day_of(out)),
        batch=plain.count("batch", own.get("batch", "16")),
        max_new_tokens=plain.count(
            "max_new_tokens", own.get("max_new_tokens", TWIN_TOKENS if twin else "512")
        ),
        sets=sets,
        abilities=_abilities(own.get("abilities", "")),
        out=out,
    )


def _common(rest: Sequence[str], twin: bool) -> list[str]:
    """The recipe, and what a twin needs, but for what the user's own words say."""
    recipe = [word for word in rest if word.startswith("recipe=")] or ["recipe=study_ko"]
    given = {word.partition("=")[0] for word in rest}
    return [*recipe, *(word for word in TWIN_WORDS if twin and word.partition("=")[0] not in given)]


def _settings(rest: Sequence[str]) -> list[str]:
    if chosen := [word for word in rest if word.startswith("model=")]:
        raise ConfigError(f"{chosen[0]} would train one model six times; write models={chosen[0][6:]}")
    return [word for word in rest if not word.startswith("recipe=")]


def _abilities(said: str) -> dict[str, str | None]:
    """Benchmarks by name, each with the place of a local copy, if one is given behind a colon.

    Raises:
        ConfigError: there is no such benchmark.
    """
    from kalign.config.rules import one_of

    found: dict[str, str | None] = {}
    for one in filter(None, said.split(",")):
        name, _, copy = one.partition(":")
        one_of("abilities", name, ABILITIES)
        found[name] = copy or None
    return found


def _day_of(out: Path) -> str | None:
    """The day of a study that began earlier: it stays the same when it goes on tomorrow."""
    began = out / "as_of.json"
    return str(json.loads(began.read_text(encoding="utf-8"))["as_of"]) if began.is_file() else None


COMMANDS: Mapping[str, Command] = {
    "study ko": Command(
        run=study,
        summary="train, evaluate and tabulate six families beside the paper's table",
        example="kalign study ko data=synth data.path=synth/mine/triplets.parquet launch=ddp ranks=8",
        words="[models=exaone,ax,...] [suite=ko] [judge=rules] [as_of=DAY] [batch=16] [max_new_tokens=512] "
        "[set.NAME=FILE] [abilities=kmmlu,click:FOLDER] [launch=PROFILE] [ranks=N] [out=study-ko] "
        "[recipe=study_ko] [KEY=VALUE ...]",
        about_words="KEY=VALUE are settings of all trainings. model.twin=true runs everything on tiny random "
        "twins, offline, on a CPU. suite, judge, as_of, batch and max_new_tokens are those of kalign eval, "
        "set.NAME gives the file of one of the suite's sets, abilities names benchmarks of kalign eval, each "
        "with a local copy behind a colon. Ends with the code of the first failure, after all were tried.",
    ),
}
