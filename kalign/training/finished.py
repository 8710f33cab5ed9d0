"""What a finished run says: its tables again, unless the data changed since. Nothing here loads torch."""

from pathlib import Path

from rich.console import Console

from kalign import files, runs
from kalign.config import Recipe
from kalign.data import sources, tags
from kalign.runs import Run
from kalign.training import report


def say_again(recipe: Recipe, run: Run, console: Console) -> None:
    """Say that there is nothing left to do.

    Raises:
        IntegrityError: the data are no longer those that were trained on.
    """
    digests = {name: sources.digest(source) for name, source in recipe.data.sources().items()}
    if recipe.data.tags:
        digests["data.tags"] = files.sha256(tags.sidecar(Path(recipe.data.tags)))
    recorded = {name: noted["sha256"] for name, noted in run.read_manifest()["inputs"]["data"].items()}
    runs.require_same({"data": recorded}, {"data": digests}, run)
    console.print(f"{run.path} is finished; nothing was changed. Remove it to train again.", soft_wrap=True)
    say(run, console)


def say(run: Run, console: Console) -> None:
    """Print the tables of a finished run, and where everything lies."""
    result = run.read_result()
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
