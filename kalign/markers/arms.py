"""The arms of a study with markers, side by side: steps, tokens with and without markers, results."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from kalign import listing
from kalign.errors import ConfigError, DataError
from kalign.runs import Run

PLAIN, WITH = "tokens an epoch, without markers", "tokens an epoch, with markers"


def read(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """What each finished run says of its arm.

    Raises:
        ConfigError: a path is no run's folder, or no run was trained with tags.
        DataError: a run is not finished.
        IntegrityError: a file of a run cannot be read.
    """
    return [_arm(Run(path)) for path in paths]


def found(folder: Path) -> list[Path]:
    """The finished runs of a folder that were trained with tags, oldest first.

    Raises:
        ConfigError: there is none.
    """
    paths = [
        folder / each.run
        for each in listing.found(folder)
        if each.state == "finished" and each.settings.get("data.tags")
    ]
    if not paths:
        raise ConfigError(
            f"{folder} holds no finished run with data.tags; train some arms of recipe=markers_dpo first"
        )
    return paths


def _arm(run: Run) -> dict[str, Any]:
    if not run.manifest.is_file():
        raise ConfigError(f"{run.path} is no run's folder; kalign runs lists them")
    if not run.result.is_file():
        raise DataError(f"{run.path} is not finished; run its command again")
    manifest, result = run.read_manifest(), run.read_result()
    recipe, facts = manifest["recipe"], manifest["ledger"]["facts"]
    if WITH not in facts:
        raise ConfigError(f"{run.path} was trained without data.tags, so it is no arm of such a study")
    pairs = facts["trained on, copies counted"]
    seen = result["steps"] * recipe["trainer"]["pairs_per_step"]
    held_out = result["held_out"] or {}
    return {
        "run": run.path.name,
        "method": recipe["method"],
        "arm": recipe["data"]["markers"]["arm"],
        "mode": recipe["data"]["markers"]["mode"],
        "seed": recipe["trainer"]["seed"],
        "steps": result["steps"],
        "pairs_seen": seen,
        "different_pairs": facts["of them different pairs"],
        "most_copies": facts["most copies of one pair"],
        "cultural_share": facts["of them cultural"] / pairs if pairs else None,
        "tokens_without_markers": round(facts[PLAIN] / pairs * seen) if pairs else 0,
        "tokens_with_markers": round(facts[WITH] / pairs * seen) if pairs else 0,
        "reward_accuracy": (held_out.get("reward_accuracy") or {}).get("after"),
        "nats_a_token": (held_out.get("nats_a_token") or {}).get("after"),
        "reward_margin": (held_out.get("reward_margin") or {}).get("after"),
        "markers": result["markers"],
    }


def different(arms: Sequence[dict[str, Any]]) -> list[str]:
    """Why the arms cannot be compared, one sentence each."""
    return [
        f"the arms differ in {name}: {', '.join(str(each[key]) for each in arms)}"
        for key, name in (("method", "method"), ("steps", "steps"), ("pairs_seen", "pairs seen"))
        if len({each[key] for each in arms}) > 1
    ]


def say(console: Console, arms: Sequence[dict[str, Any]]) -> None:
    """Print one row an arm, and what keeps them from being compared."""
    table = Table(title="Arms, with 95 % intervals", title_justify="left")
    table.add_column("")
    for each in arms:
        table.add_column(each["arm"], justify="right")
    for name, values in _rows(arms).items():
        table.add_row(name, *values)
    console.print(table)
    console.print(
        "tokens: of the prompts and answers that were seen; accuracy: held-out pairs whose chosen answer "
        "gained more likelihood; nats a token: what a right answer costs after supervised training, in mode "
        "inferred behind the markers that the model wrote",
        style="dim",
        soft_wrap=True,
    )
    for sentence in different(arms):
        console.print(f"Not comparable: {sentence}", style="red", soft_wrap=True)
    for each in arms:
        if (each["markers"] or {}).get("accuracy"):
            console.print(_predicted(each["run"], each["markers"]))


def _predicted(run: str, markers: Mapping[str, Any]) -> Table:
    """How well a model predicts the markers of its prompts."""
    title = (
        f"{run}: markers that the model wrote itself, in {markers['answers_with_markers']} of "
        f"{markers['answers']} answers"
    )
    table = Table(title=title, title_justify="left")
    for column in ("marker", "right", "mean F1 of its values"):
        table.add_column(column, justify="left" if column == "marker" else "right")
    f1 = markers.get("macro_f1") or {}
    for name, share in markers["accuracy"].items():
        table.add_row(name, listing.spelled(share), listing.spelled(f1.get(name)))
    table.add_row("all of a text", listing.spelled(markers.get("exact")), "")
    return table


def _rows(arms: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """What is told of each arm, by name."""
    return {
        "mode in evaluation": [each["mode"] for each in arms],
        "steps": [str(each["steps"]) for each in arms],
        "pairs seen": [f"{each['pairs_seen']:,}" for each in arms],
        "different pairs an epoch": [f"{each['different_pairs']:,}" for each in arms],
        "most copies of one pair": [str(each["most_copies"]) for each in arms],
        "cultural share": [f"{each['cultural_share']:.1%}" for each in arms],
        "tokens without markers": [f"{each['tokens_without_markers']:,}" for each in arms],
        "tokens with markers": [f"{each['tokens_with_markers']:,}" for each in arms],
        "held-out accuracy": [listing.spelled(each["reward_accuracy"]) for each in arms],
        "held-out nats a token": [listing.spelled(each["nats_a_token"]) for each in arms],
    }
