"""What the check of a pack prints."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kalign.packs.check import Report


def say(console: Console, name: str, report: Report) -> None:
    """The findings as a table, or one line that says how much is clean."""
    counted = ", ".join(f"{count:,} {what}" for what, count in report.counts.items())
    if not report.findings:
        console.print(f"pack {name}: {counted}; no findings", soft_wrap=True)
        return
    table = Table()
    for heading in ("where", "what", "remedy"):
        table.add_column(heading, overflow="fold")
    for finding in report.findings:
        table.add_row(*map(Text, (finding.where, finding.what, finding.remedy)))
    console.print(table)
    console.print(f"pack {name}: {counted}; findings: {len(report.findings)}", soft_wrap=True)
