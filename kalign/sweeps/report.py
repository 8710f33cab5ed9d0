"""What a sweep found: its trials as a table and as one document."""

from typing import Any

from rich.console import Console
from rich.table import Table

from kalign.sweeps.plan import OBJECTIVES, Plan
from kalign.sweeps.search import Search


def document(plan: Plan, search: Search) -> dict[str, Any]:
    """What `--json` prints: the trials in their order, and the number of the best one."""
    trials: list[dict[str, Any]] = [
        {
            "trial": trial.number + 1,
            "state": trial.state.name.lower(),
            "values": trial.params,
            "result": trial.user_attrs.get("result"),
            "last_seen": trial.value if trial.state.name == "PRUNED" else None,
            "run": trial.user_attrs.get("run"),
            "reason": trial.user_attrs.get("reason"),
            "words": trial.user_attrs.get("words"),
        }
        for trial in search.study.get_trials(deepcopy=False)
        if trial.state.name != "WAITING"
    ]
    complete = [trial for trial in trials if trial["state"] == "complete"]
    sign = 1 if OBJECTIVES[plan.objective].larger else -1
    best = max(complete, key=lambda trial: sign * trial["result"]["value"], default=None)
    return {
        "sweep": str(plan.folder),
        **plan.document(),
        "best": best["trial"] if best else None,
        "trials": trials,
    }


def say(console: Console, found: dict[str, Any]) -> None:
    """Print the trials, the best one marked."""
    objective = OBJECTIVES[found["objective"]]
    table = Table(title=f"Trials of {found['sweep']}", title_justify="left")
    keys = list(found["trials"][0]["values"]) if found["trials"] else []
    for column in ("trial", *keys, objective.name, "state", "run"):
        table.add_column(column, overflow="fold")
    for trial in found["trials"]:
        values = [_spelled(trial["values"].get(key)) for key in keys]
        best = trial["trial"] == found["best"]
        mark = f"{trial['trial']}{' *' if best else ''}"
        table.add_row(
            mark, *values, _result(trial), trial["state"], trial["run"] or "-", style="bold" if best else ""
        )
    console.print(table)
    complete = sum(trial["state"] == "complete" for trial in found["trials"])
    if complete:
        console.print(
            f"* the best of {complete} on the pairs it was chosen by, which flatters it: judge it on others. "
            "Intervals are of 95 %.",
            style="dim",
            soft_wrap=True,
        )


def _result(trial: dict[str, Any]) -> str:
    result = trial["result"]
    if result is None:
        return "-" if trial["last_seen"] is None else f"({trial['last_seen']:.3f})"
    bounds = f" [{result['low']:.3f}, {result['high']:.3f}]" if "low" in result else ""
    return f"{result['value']:.3f}{bounds}"


def _spelled(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
