"""What a training on examples prints: the numbers of its progress, and what changed on held-out ones."""

from rich.console import Console
from rich.table import Table

from kalign.runs import Run
from kalign.statistics import spelled
from kalign.training import report

SHOWN = {"loss": "loss", "mean_token_accuracy": "accuracy", "reward": "reward", "kl": "KL"}
NAMES = {"nats_a_token": "nats a token of the right answer"}


def say(run: Run, console: Console) -> None:
    """Print the table of a finished run, and where everything lies."""
    result = run.read_result()
    changed = dict(result["held_out"])
    examples = changed.pop("examples")
    table = Table(title=f"Held-out examples ({examples}), with 95 % intervals", title_justify="left")
    for column in ("", "before", "after", "change"):
        table.add_column(column, justify="right" if column else "left", no_wrap=bool(column))
    for name, row in changed.items():
        table.add_row(
            NAMES.get(name, name), *(spelled(row[when], digits=2) for when in ("before", "after", "change"))
        )
    console.print(table)
    report.print_answers(
        console,
        [
            {"prompt": each["group"], "before": each["before"], "after": each["after"]}
            for each in result["answers"]
        ],
    )
    console.print(
        f"Adapter: {run.adapter} ({result['steps']} steps, {result['seconds']:.0f} s)", soft_wrap=True
    )
    console.print(
        f"Curves: {run.history} · result: {run.result} · every answer: {run.answers}", soft_wrap=True
    )
