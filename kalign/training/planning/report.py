"""A plan on the screen."""

from typing import Any

from rich.console import Console
from rich.table import Table

from kalign.config import Licence
from kalign.training.planning.memory import GIB


def show(console: Console, plan: dict[str, Any]) -> None:
    """Print the plan: model, memory, verdict, data, time, and what should be known."""
    model, launch = plan["model"], plan["launch"]
    console.print(
        f"{plan['recipe']} on {launch['ranks']} device(s) (launch={launch['name']}), "
        f"{launch['accumulation']} micro-batch(es) a step\n"
        f"{model['repo']}: {model['class']}, {model['parameters']:,} weights, {model['trainable']:,} trained;"
        f" known from {model['known_from']}",
        soft_wrap=True,
    )
    console.print(Licence(**plan["licence"]).sentence(), style="dim", soft_wrap=True)
    _memory(console, plan["memory"])
    _data(console, plan["data"])
    _time(console, plan["time"])
    for warning in plan["warnings"]:
        console.print(warning, style="yellow", soft_wrap=True)


def _memory(console: Console, memory: dict[str, Any]) -> None:
    table = Table(title="Memory of one device, at the longest pairs", title_justify="left")
    table.add_column("what")
    table.add_column("GiB", justify="right")
    table.add_column("how", style="dim")
    for term in memory["terms"]:
        table.add_row(term["name"], f"{term['bytes'] / GIB:.3f}", term["how"])
    table.add_section()
    table.add_row("needed", f"{memory['needed_gib']:.2f}", f"of {memory['limit_gib']:g} GiB (memory=)")
    console.print(table)
    card = memory["smallest_card_gib"]
    held = f"a card of {card} GiB holds it" if card else "no common card holds it"
    if memory["fits"]:
        console.print(f"It fits; {held}.", style="green", soft_wrap=True)
    else:
        console.print(f"It does not fit; {held}. What would help:", style="red", soft_wrap=True)
        _knobs(console, memory["knobs"])
    if memory["spare"]:
        console.print(f"To spare: {memory['spare']}.", soft_wrap=True)


def _knobs(console: Console, knobs: list[dict[str, Any]]) -> None:
    table = Table()
    table.add_column("setting", no_wrap=True)
    table.add_column("saves", justify="right")
    table.add_column("then needed", justify="right")
    table.add_column("result")
    table.add_column("", style="dim")
    for knob in knobs:
        table.add_row(
            knob["words"],
            f"{knob['saves_gib']:.2f} GiB",
            f"{knob['needed_gib']:.2f} GiB",
            "another" if knob["changes_result"] else "the same",
            knob["note"],
            style="green" if knob["fits"] else "",
        )
    console.print(table)
    if not any(knob["fits"] for knob in knobs):
        console.print("All of them are not enough: take a smaller model, or a larger device.", style="red")


def _data(console: Console, data: dict[str, Any]) -> None:
    console.print(f"Data: {data['says']}.", soft_wrap=True)
    account = data["ledger"]
    if account:
        dropped = ", ".join(
            f"{count:,} {reason.replace('_', ' ')}" for reason, count in account["dropped"].items()
        )
        console.print(
            f"  {data['train']:,} trained on, {data['held_out']:,} held out, dropped: {dropped or 'none'}; "
            f"longest pair {data['longest']:,} tokens, longest answer {data['scored']:,}",
            soft_wrap=True,
        )
    if data["refused"]:
        console.print(f"  A training would stop here: {data['refused']}", style="red", soft_wrap=True)


def _time(console: Console, time: dict[str, Any]) -> None:
    rate = f"{time['tflop_per_pair']:g} TFLOP a pair at {time['tflops']:g} TFLOP/s a device (tflops=)"
    if time["hours"] is None:
        console.print(
            f"Time: {spelled(time['hours_per_1000_pairs'])} for 1,000 pairs: {rate}.", soft_wrap=True
        )
    else:
        console.print(
            f"Time: {spelled(time['hours'])} for {time['steps']:,} steps, {time['pairs_seen']:,} pairs seen: "
            f"{rate}; answers shown before and after are not counted.",
            soft_wrap=True,
        )
    if time["probe"]:
        probe = time["probe"]
        peak = f", at most {probe['peak_gib']:.1f} GiB" if probe["peak_gib"] else ""
        console.print(
            f"  At the pace of {probe['run']} ({probe['device']}, {probe['pairs_per_second_and_rank']:g} "
            f"pairs a second{peak}): {spelled(time['hours_by_probe'])}.",
            soft_wrap=True,
        )


def spelled(hours: float) -> str:
    """A duration in the unit that reads best.

    >>> spelled(0.001), spelled(0.2), spelled(3.25)
    ('4 s', '12 min', '3.2 h')
    """
    if hours < 1 / 60:
        return f"{hours * 3600:.0f} s"
    return f"{hours * 60:.0f} min" if hours < 1 else f"{hours:.1f} h"
