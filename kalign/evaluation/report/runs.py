"""The part of a page that shows a training: ledger, curves, what changed; and an export's certificate."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from kalign import files, pages, runs
from kalign.evaluation.report import answers, costs, panels
from kalign.pages import Section
from kalign.runs import Run
from kalign.statistics import spelled, wilson

CURVES = {  # which curves stand in one chart: what is logged, and how the chart calls it
    "loss": {"loss": "training", "eval_loss": "held out"},
    "reward": {"rewards/chosen": "chosen", "rewards/rejected": "rejected", "rewards/margins": "margin"},
    "log-prob of an answer, nats": {"logps/chosen": "chosen", "logps/rejected": "rejected"},
    "reward accuracy": {"rewards/accuracies": "training", "eval_rewards/accuracies": "held out"},
}


def sections(folder: Path, manifest: dict[str, Any]) -> tuple[str, list[Section]]:
    """A run: what it was made from, how it went, and what came out."""
    run = Run(folder)
    made = [_ledger(manifest)]
    if run.history.is_file():
        made.append(_curves(run))
    if run.panel.is_file():
        made.append(Section(title="While it trained", parts=[*panels.charts(run), *panels.alarms(run)]))
    elif run.alarms.is_file():
        made.append(Section(title="While it trained", parts=panels.alarms(run)))
    lead = f"{folder.resolve().name}: not finished"
    if run.result.is_file():
        result = run.read_result()
        lead = (
            f"{result['run']}: {result['steps']} steps on {result['train_pairs']} pairs, from "
            f"{manifest['inputs']['base']['repo']}"
        )
        if result["held_out"]:
            made.append(_held_out(result["held_out"]))
        if result["behaviour"]:
            made += [_behaviour(result["behaviour"]), _by_category(result["behaviour"])]
        if run.answers.is_file():
            made.append(_answers(run))
        elif result["answers"]:
            made.append(_samples(result["answers"]))
        made.append(costs.of_run(result))
    return lead, made


def certificate_sections(folder: Path, certificate: dict[str, Any]) -> tuple[str, list[Section]]:
    """The certificate of an export, as it stands."""
    rows = [
        [key.replace(".", ": ").replace("_", " "), _plain(value)]
        for key, value in runs.flat(certificate).items()
    ]
    return "", [Section(title="Certificate", parts=[pages.table(["", ""], rows)])]


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _ledger(manifest: Mapping[str, Any]) -> Section:
    account = manifest["ledger"]
    rows = [
        ["read", f"{account['rows']:,}"],
        ["trained on", f"{account['train']:,}"],
        ["held out", f"{account['eval']:,}"],
        *([f"dropped: {reason.replace('_', ' ')}", f"{n:,}"] for reason, n in account["dropped"].items()),
        *([f"kept, suspect: {what.replace('_', ' ')}", f"{n:,}"] for what, n in account["suspects"].items()),
    ]
    return Section(title="Ledger", parts=[pages.table(["rows", "count"], rows)])


def _curves(run: Run) -> Section:
    logs = [row for _, row in files.read_jsonl(run.history, own=True)]
    charts: list[Markup] = []
    for title, named in CURVES.items():
        lines = {
            name: [(float(log["step"]), float(log[key])) for log in logs if key in log and "step" in log]
            for key, name in named.items()
        }
        drawn = {name: points for name, points in lines.items() if points}
        if drawn:
            charts.append(pages.curves(drawn, x="step", y=title))
    return Section(title="Training curves", parts=charts)


def _held_out(compared: Mapping[str, Any]) -> Section:
    rows = [
        [key.replace("_", " "), *(spelled(found[when], none="–") for when in ("before", "after"))]
        for key, found in compared.items()
        if isinstance(found, Mapping)
    ]
    title = f"{compared['pairs']} held-out pairs, with 95 % intervals"
    return Section(title="Held-out pairs", parts=[pages.table(["", "before", "after"], rows, caption=title)])


def _behaviour(changed: Mapping[str, Any]) -> Section:
    rows, labels = [], []
    bars: dict[str, list[tuple[float, float, float]]] = {"before": [], "after": []}
    outcomes = {f"harmful: {name}": found for name, found in changed["harmful"].items()}
    outcomes |= {f"benign: {name}": found for name, found in changed["benign"].items()}
    for name, found in outcomes.items():
        if found is None:
            continue
        label = name.replace("_", " ")
        labels.append(label)
        for when, line in bars.items():
            line.append((found[when]["value"], found[when]["low"], found[when]["high"]))
        moved = f"{found['gained']} / {found['lost']}"
        shares = [spelled(found[when], none="–") for when in bars]
        rows.append([label, *shares, moved, f"{found['p_value']:.2g}"])
    table = pages.table(
        ["", "before", "after", "gained / lost", "p"],
        rows,
        caption=(
            f"Answers to the pack's held-out prompts, by rules, as of {changed['as_of']}; p: exact McNemar "
            "test, each by itself"
        ),
    )
    return Section(title="Behaviour", parts=[pages.bars(labels, bars, top=1.0), table])


def _by_category(changed: Mapping[str, Any]) -> Section:
    """How many harmful prompts of each category were declined, with intervals, and what else stood in it."""
    categories = changed["by_category"]
    series: dict[str, list[tuple[float, float, float]]] = {
        when: [_share(found[when]["declines"], found["prompts"]) for found in categories.values()]
        for when in ("before", "after")
    }
    labels = [f"{name} ({found['prompts']})" for name, found in categories.items()]
    columns = list(next(iter(categories.values()))["before"])
    rows = [
        [name, str(found["prompts"]), *(f"{found['before'][key]} → {found['after'][key]}" for key in columns)]
        for name, found in categories.items()
    ]
    caption = "Harmful prompts declined, by rules, with 95 % intervals"
    table = pages.table(["category", "n", *(key.replace("_", " ") for key in columns)], rows)
    return Section(title="By category", parts=[pages.bars(labels, series, top=1.0, caption=caption), table])


def _share(hits: int, total: int) -> tuple[float, float, float]:
    found = wilson(hits, total)
    return (found.value, found.low, found.high)


def _samples(shown: Sequence[Mapping[str, str]]) -> Section:
    rows = [[one["prompt"], one["before"], one["after"]] for one in shown]
    return Section(title="Answers", parts=[pages.table(["prompt", "before", "after"], rows)])


def _answers(run: Run) -> Section:
    by_category: dict[str, list[list[str | Markup]]] = {}
    for _, row in files.read_jsonl(run.answers):
        cells = [row["prompt"], *(_answer(row[when]) for when in ("before", "after"))]
        by_category.setdefault(f"{row['kind']}, {row['category']}", []).append(cells)
    shown = answers.side_by_side(["prompt", "before", "after"], by_category, run.answers.name)
    return Section(title="Answers", parts=[pages.text("✓ exists and fits, ✗ does not exist"), *shown])


def _answer(said: Mapping[str, Any]) -> Markup:
    right = said["evidence"]["cites_law"] + said["evidence"]["names_institution"]
    cited: list[dict[str, Any]] = [{"text": one, "status": "verified", "exists": True} for one in right]
    for one in said["wrong"]:
        text, _, status = one.rpartition(": ")
        cited.append({"text": text, "status": status, "exists": False})
    return answers.marked(said["answer"], cited)
