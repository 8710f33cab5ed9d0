"""What a study found of each model, read from the files of its training and its evaluation."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kalign import files
from kalign.config import Recipe
from kalign.evaluation import tables
from kalign.evaluation.study.stages import ABILITY, Part
from kalign.runs import Run


def of_model(
    part: Part,
    recipe: Recipe,
    *,
    paper: Mapping[str, Any] | None,
    claim: Mapping[str, Any] | None,
    result: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """One model, as plain values.

    Args:
        paper: what the paper reports of it; None where the paper has no such model.
        claim: its change of the safe rate, adjusted for the number of models; None where it failed.
    """
    document: dict[str, Any] = {
        "model": part.model,
        "repo": recipe.model.repo,
        "twin": recipe.model.twin,
        "licence": recipe.model.licence.name,
        "paper": {**paper, "gain": round(paper["after"] - paper["before"], 2)} if paper else None,
        "safe": claim,
        "failures": [asdict(one) for one in part.failures],
        "run": str(part.run.path),
        "evaluation": str(part.evaluation),
    }
    if part.run.result.is_file():
        document["training"] = _training(part.run)
    if result:
        [primary] = {one["set"] for one in result["comparison"]["changes"] if one["claim"]}
        document["benign"] = next(
            (
                one
                for one in result["comparison"]["changes"]
                if one["outcome"] == "answered" and one["set"] == primary
            ),
            None,
        )
        document["wrong_citations"] = result["comparison"]["wrong_citations"]
        document["tokens"] = {name: sums["tokens"] for name, sums in result["models"].items()}
        document["cut_off"] = {name: sums["cut_off"] for name, sums in result["models"].items()}
    return document


def _training(run: Run) -> dict[str, Any]:
    result = run.read_result()
    alarms = [row for _, row in files.read_jsonl(run.alarms, own=True)] if run.alarms.is_file() else []
    return {
        "steps": result["steps"],
        "pairs": result["train_pairs"],
        "seconds": result["seconds"],
        "device": result["pace"]["device"],
        "ranks": result["pace"]["ranks"],
        "adapter_sha256": result["adapter_sha256"],
        "alarms": alarms,
    }


def abilities(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Every benchmark's tasks of every model: scores of base and model, and what was kept."""
    found = []
    for part in parts:
        for name, folder in part.abilities.items():
            document = json.loads((folder / ABILITY).read_text(encoding="utf-8"))
            found += [{"of": part.model, "benchmark": name, **task} for task in document["tasks"]]
    return found


def say(document: Mapping[str, Any], console: Console, where: str) -> int:
    """Print the table beside the paper's; the exit code of the first failure, or 0."""
    table = Table(
        title=f"Safe rate in %, suite {document['suite']}, judged by {', '.join(document['judges'])}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for column in ("model", "paper", "base", "after DPO", "gain", "p", "verdict", "benign"):
        left = column in ("model", "verdict", "benign")
        table.add_column(column, justify="left" if left else "right", no_wrap=True)
    for one in document["models"]:
        paper = one["paper"]
        told = f"{paper['gain']:+.2f}" if paper else "-"
        if one["safe"] is None:
            failure = one["failures"][0]
            table.add_row(one["model"], told, "", "", f"{failure['stage']} failed", "", "", "")
            continue
        claim, benign = one["safe"], (one["benign"] or {}).get("retained", {}).get("verdict", "-")
        table.add_row(
            one["model"],
            told,
            f"{claim['before']['value'] * 100:.1f}",
            tables.spelled(claim["after"]),
            tables.spelled(claim["difference"], sign="+"),
            f"{claim['p_value_holm']:.1g}",
            Text(claim["verdict"], style=tables.TONES.get(claim["verdict"], "")),
            Text(benign, style=tables.TONES.get(benign, "")),
        )
    console.print(table)
    for sentence in sentences(document):
        console.print(sentence, soft_wrap=True)
    for failure in document["failures"]:
        console.print(
            f"{failure['model']}: {failure['stage']} failed with code {failure['code']}: {failure['said']} "
            f"({failure['log']}); the same command tries it again",
            soft_wrap=True,
        )
    console.print(f"Every number: {where}/study.json · page: {where}/report.html", soft_wrap=True)
    return next((int(failure["code"]) for failure in document["failures"]), 0)


def sentences(document: Mapping[str, Any]) -> list[str]:
    """What the table means, and what it must not be taken for."""
    mean, paper = document["mean"], document["paper"]
    low, high = (mean["difference"][bound] * 100 for bound in ("low", "high"))
    said = [
        f"Mean gain over {mean['models']} model(s): {mean['difference']['value'] * 100:+.1f} points "
        f"[{low:+.1f}, {high:+.1f}]; the paper's over six: {paper['mean_gain']:+.2f}.",
        f"paper: the gain in {paper['source']}; {paper['metric']} ({paper['read']}). Intervals are of 95 %; "
        f"p: exact McNemar, Holm over the {len(document['models'])} models that were asked for; benign: "
        "whether the share of benign prompts answered was kept.",
    ]
    if document["suite"] != "korset":
        said.append(
            f"These prompts are not the paper's: only suite=korset asks what the paper asked, so compare the "
            f"columns, not their numbers, with suite {document['suite']}."
        )
    if document["twins"]:
        said.append(
            "These are tiny random twins: they show that everything runs, and say nothing of a model."
        )
    return said
