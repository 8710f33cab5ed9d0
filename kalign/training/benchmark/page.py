"""The benchmark as a page: bars for the arms, curves for the sweeps."""

from collections.abc import Mapping, Sequence
from typing import Any

from kalign import pages
from kalign.pages import Section


def page(document: Mapping[str, Any]) -> str:
    """The page of one document."""
    machine = document["machine"]
    lead = (
        f"A training step on the same weights, adapter and pairs, on {machine['device']}. The arms took "
        "turns, and none was timed before all gave the same log-probs."
    )
    sections = [_arms(entry) for entry in document["workloads"] if not entry["workload"]["sweep"]]
    sweeps: dict[str, list[Mapping[str, Any]]] = {}
    for entry in document["workloads"]:
        if entry["workload"]["sweep"]:
            sweeps.setdefault(entry["workload"]["sweep"], []).append(entry)
    sections += [_sweep(what, entries) for what, entries in sweeps.items()]
    if skipped := document.get("skipped"):
        rows = [[name, reason] for name, reason in skipped.items()]
        sections.append(Section(title="Not timed", parts=[pages.table(["arm", "why"], rows)]))
    versions = [[name, str(value)] for name, value in document["versions"].items()]
    sections.append(Section(title="Made with", parts=[pages.table(["what", "version"], versions)]))
    return pages.page("How fast a step is", sections, lead=lead)


def _arms(entry: Mapping[str, Any]) -> Section:
    names = [arm["name"] for arm in entry["arms"]]
    chart = pages.bars(
        names,
        {"pairs a second": [arm["pairs_per_second"] for arm in entry["arms"]]},
        spelled="{:.3g}".format,
        caption="Pairs a second",
    )
    rows = [
        [
            arm["name"],
            arm["about"],
            f"{arm['seconds_per_step']:.3f}",
            f"{entry['ratios'].get('vs_' + arm['name'], 1.0):.2f}×",
            f"{arm['executed_tokens']}",
            f"{arm['peak_mib']:.0f}",
            f"{arm['hours']['three_epochs']:.2f}",
        ]
        for arm in entry["arms"]
    ]
    columns = ["arm", "what", "s a step", "kalign is", "tokens run", "peak MiB", "hours, 3 epochs"]
    return Section(title=entry["workload"]["name"], parts=[chart, pages.table(columns, rows)])


def _sweep(what: str, entries: Sequence[Mapping[str, Any]]) -> Section:
    lines = {
        f"against {name.removeprefix('vs_')}": [
            (_at(what, entry), entry["ratios"][name]) for entry in entries
        ]
        for name in entries[0]["ratios"]
    }
    chart = pages.curves(lines, x=what, y="times faster", caption=f"How many times faster, by {what}")
    return Section(title=f"By {what}", parts=[chart])


def _at(what: str, entry: Mapping[str, Any]) -> float:
    value = entry["workload"][what]
    return float(value if isinstance(value, int) else sum(value) / 2)
