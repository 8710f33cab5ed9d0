"""`kalign doctor`: the contract's checks as a table, one conversation token by token, and a file."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from transformers.utils import logging

from kalign import files
from kalign.config import Model
from kalign.models import contract, loading

SHOWN = {"\n": "⏎", " ": "␣", "\t": "⇥"}
MOST_FINDINGS = 12


def run(model: Model, out: Path, console: Console) -> dict[str, Any]:
    """Examine the model, print what was found, write it to `out`, and return it.

    Raises:
        ResourceError: the Hub could not be reached.
        DataError: there is nothing to examine.
    """
    logging.set_verbosity_error()  # transformers warns of conversations longer than the model reads
    document = contract.as_document(contract.examine(model, loading.locate(model)))
    files.write_json(out, document)
    show(console, document)
    console.print(f"Written: {out}", soft_wrap=True)
    return document


def show(console: Console, document: dict[str, Any]) -> None:
    """Print a diagnosis."""
    console.print(
        f"{document['model']}: {document['conversations']} conversations · template "
        f"{_short(document['template_sha256'])} · tokenizer {_short(document['tokenizer_sha256'])}",
        soft_wrap=True,
    )
    if document["sample"]:
        console.print(_tokens(document["sample"]), soft_wrap=False)
        console.print("dim: read · bold: trained · small: the token's id", style="dim")
    console.print(_checks(document["checks"]))
    for finding in document["findings"][:MOST_FINDINGS]:
        where = f" in conversation {finding['conversation']}" if finding["conversation"] else ""
        console.print(f"{finding['code']}{where}: {finding['sentence']}", style="red", soft_wrap=True)
    if len(document["findings"]) > MOST_FINDINGS:
        console.print(f"... and {len(document['findings']) - MOST_FINDINGS} more", style="red")
    for reason, count in document["dropped"].items():
        console.print(
            f"{count} conversation(s) that training would drop, and say so: {reason.replace('_', ' ')}",
            soft_wrap=True,
        )
    if document["ok"] and not document["contract"]["template_sha256"]:
        console.print(
            f"To stop when the template changes: model.template_sha256={document['template_sha256']}",
            style="dim",
            soft_wrap=True,
        )
    console.print(
        "The contract holds." if document["ok"] else "The contract is broken.",
        style="green" if document["ok"] else "red",
    )


def _checks(checks: list[dict[str, Any]]) -> Table:
    table = Table(title="Template contract", title_justify="left")
    table.add_column("code", no_wrap=True)
    table.add_column("holds if")
    table.add_column("checked", justify="right")
    table.add_column("broken", justify="right")
    for check in checks:
        style = "red" if check["broken"] else ("" if check["checked"] else "dim")
        table.add_row(
            check["code"], check["holds_if"], str(check["checked"] or "-"), str(check["broken"]), style=style
        )
    return table


def _tokens(sample: list[dict[str, Any]]) -> Text:
    """Every token with its id: what is read dim, what is trained bold between marks."""
    line = Text()
    trained = False
    for token in sample:
        if token["trained"] and not trained:
            line.append(" ▶ ", style="green")
            trained = True
        shown = "".join(SHOWN.get(letter, letter) for letter in token["text"]) or "∅"
        line.append(shown, style="bold green" if trained else "dim")
        line.append(f"{token['id']} ", style="dim cyan")
    return line


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "not reached"
