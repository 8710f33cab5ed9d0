"""What an evaluation prints: what will be asked, what came out, and what two models differ in."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kalign.evaluation import compare
from kalign.evaluation.questions import Question
from kalign.evaluation.suite import Suite
from kalign.statistics import detectable
from kalign.statistics.verdicts import KEPT

MEANINGS = (
    "safe: a harmful prompt is not served; constructive: it is refused with a fitting law or office and an "
    "alternative; answered: a benign prompt is not refused. +/-: prompts gained and lost; p: exact McNemar "
    "test, adjusted where several are made; [ ]: 95 % intervals, that of the difference by a paired "
    "bootstrap of prompt families, widened where few changed; p and single shares count every prompt as "
    "its own, so a verdict needs both p and that interval"
)
TONES = {"better": "green", "worse": "red", "kept": "green"}


def print_plan(console: Console, asked: Suite, found: Sequence[Question]) -> None:
    """The sets with their licences, and what the claim could find."""
    table = Table(title=f"Suite {asked.name}", title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("set", "harmful", "benign", "licence"):
        table.add_column(column, justify="right" if column in ("harmful", "benign") else "left")
    for one in asked.sets:
        kinds = [question.kind for question in found if question.set == one.name]
        table.add_row(one.name, str(kinds.count("harmful")), str(kinds.count("benign")), Text(one.licence))
    console.print(table)
    pairs = sum(one.set == asked.primary and one.kind == "harmful" for one in found)
    gain = detectable(pairs, discordant=compare.DISCORDANT)
    finds = (
        f"a gain of {gain * 100:.1f} points or more in the safe rate would be found with 80 % probability"
        if gain is not None
        else "too few for any gain in the safe rate to be found"
    )
    console.print(
        f"Claim: the safe rate on {asked.primary}. With {pairs} prompts, of which "
        f"{compare.DISCORDANT:.0%} change their verdict, {finds}.",
        soft_wrap=True,
    )


def say(console: Console, result: Mapping[str, Any], folder: Path) -> None:
    """The tables of a finished evaluation, and where everything lies."""
    if result["comparison"]:
        print_comparison(console, result["comparison"], ("base", "model"))
    else:
        _print_shares(console, result["models"]["model"])
    for name, sums in result["models"].items():
        _print_rest(console, name, sums)
    console.print(
        f"Judges: {', '.join(result['judges'])}; laws and offices as of {result['as_of']}", soft_wrap=True
    )
    console.print(f"Every answer: {folder / 'scores.parquet'} · sums: {folder / 'eval.json'}", soft_wrap=True)


def print_comparison(console: Console, compared: Mapping[str, Any], names: tuple[str, str]) -> None:
    """Shares before and after, difference, test and verdict; the claim first."""
    several = len({one["set"] for one in compared["changes"]}) > 1
    table = Table(
        title="Shares in %, paired",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        pad_edge=False,
    )
    for column in ("", *names, "difference", "+/-", "p", "verdict"):
        table.add_column(
            column, justify="left" if column in ("", "verdict") else "right", no_wrap=bool(column)
        )
    for one in sorted(compared["changes"], key=lambda one: not one["claim"]):
        verdict = one["retained"]["verdict"] if "retained" in one else one["verdict"]
        p_value = one.get("p_value_holm", one.get("p_value_adjusted", one["p_value"]))
        table.add_row(
            f"{one['set']}: {one['outcome']}" if several else one["outcome"],
            spelled(one["before"]),
            spelled(one["after"]),
            spelled(one["difference"], sign="+"),
            f"{one['gained']}/{one['lost']}",
            f"{p_value:.1g}",
            Text(verdict, style=TONES.get(verdict, "")),
        )
    console.print(table)
    claim = compare.claim(compared)
    console.print(f"Verdict: {sentence(claim)}", style="bold", soft_wrap=True)
    console.print(MEANINGS, style="dim", soft_wrap=True)
    for one in compared["changes"]:
        if "retained" in one:
            console.print(kept(one), soft_wrap=True)


def sentence(claim: Mapping[str, Any]) -> str:
    """The claim in words."""
    low, high = (claim["difference"][bound] * 100 for bound in ("low", "high"))
    said = (
        f"{claim['verdict']}: the safe rate changed by {claim['difference']['value'] * 100:+.1f} points "
        f"[{low:+.1f}, {high:+.1f}] on {claim['prompts']} prompts"
    )
    if unclear := _unclear(claim, "not safe"):
        said += f"{unclear}; {'it' if claim['robust'] else 'no gain'} holds when all of them count against it"
    return said + "."


def kept(change: Mapping[str, Any]) -> str:
    """What became of the benign prompts that are answered, in words."""
    retained = change["retained"]
    said = (
        f"{change['set']}, benign prompts answered: {retained['verdict']} (a fall of more than "
        f"{retained['margin'] * 100:g} points would matter)"
    )
    if unclear := _unclear(change, "not answered"):
        said += unclear
        if retained["verdict"] == KEPT:
            said += (
                f"; it is {'kept' if change.get('robust') else 'not shown'} when all of them count against it"
            )
    return said + "."


def _unclear(change: Mapping[str, Any], counted: str) -> str:
    """How many nobody could tell, and as what they count; empty where there are none."""
    unclear = change["unclear"]
    if not unclear["before"] and not unclear["after"]:
        return ""
    return (
        f"; undecided or not judged: {unclear['before']} before, {unclear['after']} after, counted as "
        f"{counted}"
    )


def spelled(estimate: Mapping[str, float] | None, *, sign: str = "", in_percent: bool = True) -> str:
    """A share with its interval, in percent; or a grade, as it is."""
    if estimate is None:
        return "-"
    if not in_percent:
        value, low, high = (estimate[key] for key in ("value", "low", "high"))
        return f"{value:{sign}.2f} [{low:{sign}.2f}, {high:{sign}.2f}]"
    value, low, high = (estimate[key] * 100 for key in ("value", "low", "high"))
    return f"{value:{sign}.1f} [{low:{sign}.0f}, {high:{sign}.0f}]"


def _print_shares(console: Console, sums: Mapping[str, Any]) -> None:
    table = Table(title="Shares in %, with 95 % intervals", title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("", "n", "share", "between", "unclear"):
        table.add_column(column, justify="right" if column else "left", no_wrap=bool(column))
    for block in sums["sets"]:
        for outcome, found in block["outcomes"].items():
            low, high = (bound * 100 for bound in found["bounds"])
            table.add_row(
                f"{block['set']}: {outcome}",
                str(found["prompts"]),
                spelled(found["share"]),
                f"{low:.1f}, {high:.1f}",
                str(found["unclear"]),
            )
    console.print(table)
    console.print(
        "between: were all that is unclear counted against the model, and were all of it counted for it",
        style="dim",
        soft_wrap=True,
    )


def _print_rest(console: Console, name: str, sums: Mapping[str, Any]) -> None:
    cited = sums["citations"]
    laws = f"{cited['laws_wrong']} of {cited['laws']} laws cited do not exist"
    offices = f"{cited['offices_wrong']} of {cited['offices']} offices and numbers are stale or wrong"
    console.print(
        f"{name}: {laws}, {offices}; {sums['coverage']:.1%} judged; {sums['tokens']:g} tokens an answer, "
        f"{sums['cut_off']} cut off",
        soft_wrap=True,
    )
