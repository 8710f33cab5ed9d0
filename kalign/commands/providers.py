"""Commands on models behind an endpoint: which ones there are, and what a ledger of answers holds."""

import argparse
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from kalign.commands.command import Command, console, print_json
from kalign.errors import ConfigError

if TYPE_CHECKING:
    from kalign.providers import Ledger, Provider


def providers(words: list[str], flags: argparse.Namespace) -> int:
    """List the shipped providers: model, family, licence, and whether the key is there."""
    from kalign.config import words as plain
    from kalign.providers import load, shipped

    plain.read(words)
    known = [load(name) for name in shipped()]
    if flags.json:
        print_json({"providers": [asdict(one) | {"key": _key(one)} for one in known]})
        return 0
    rows = [(one.name, f"{one.model}\n{_key(one)}", one.kin, _price(one), _may_train(one)) for one in known]
    _print_table(flags, ("provider", "model, key", "family", "$/M in, out", "may train others"), rows)
    console(flags).print(
        "\nAnother model: NAME:MODEL; an endpoint of your own: the path of a YAML like those."
    )
    return 0


def ledger_show(words: list[str], flags: argparse.Namespace) -> int:
    """Count a ledger's answers by model and status, and what they cost; no text is shown."""
    from kalign.config import words as plain

    _print_ledger(flags, _existing(str(plain.read(words, positional=["FILE"])["FILE"])), {})
    return 0


def ledger_merge(words: list[str], flags: argparse.Namespace) -> int:
    """Take the answers of several ledgers, such as those of shards, into one."""
    from pathlib import Path

    from kalign.providers import Ledger

    if len(words) < 2:
        raise ConfigError("FILE ... is missing; this command takes OUT FILE ..., such as all.sqlite 0.sqlite")
    for path in words[1:]:
        _existing(path).close()
    with Ledger(words[0]) as whole:
        new = whole.merge(map(Path, words[1:]))
        _print_ledger(flags, whole, {"new": new})
    return 0


def _existing(path: str) -> "Ledger":
    from pathlib import Path

    from kalign.providers import Ledger

    place = Path(path).expanduser()
    if not place.is_file() or not place.stat().st_size:
        raise ConfigError(f"{path} is no file, or empty; give the path of a ledger, which ends in .sqlite")
    return Ledger(path)


def _print_ledger(flags: argparse.Namespace, ledger: "Ledger", facts: Mapping[str, int]) -> None:
    with ledger:
        counts, spent = ledger.counts(), ledger.spent()
    if flags.json:
        rows = [
            {"provider": provider, "model": model, "status": status, "answers": count}
            for (provider, model, status), count in counts.items()
        ]
        print_json({"ledger": str(ledger.path), "answers": rows, "spent": spent, **facts})
        return
    table = [(*key, f"{count:,}") for key, count in counts.items()]
    _print_table(flags, ("provider", "model", "status", "answers"), table)
    said = [f"{sum(counts.values()):,} answers in {ledger.path}"]
    said += [f"{count:,} {name}" for name, count in facts.items()]
    console(flags).print(f"\n{', '.join(said)}, {spent:.4f} US dollars where a price is known.")


def _print_table(flags: argparse.Namespace, titles: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold")  # a name that is cut off helps nobody
    for row in rows:
        table.add_row(*row)
    console(flags).print(table)


def _price(provider: "Provider") -> str:
    if provider.price_in is None or provider.price_out is None:
        return "unknown"
    return f"{provider.price_in:g}, {provider.price_out:g}"


def _may_train(provider: "Provider") -> str:
    """Whether its licence lets what it says train another model."""
    if provider.licence.name is None:
        return "unknown"
    return "yes" if provider.licence.may_train_others else "no"


def _key(provider: "Provider") -> str:
    """Whether the variable is set; its value stays where it is."""
    if provider.key_env is None:
        return "no key"
    return f"{provider.key_env}{'' if os.environ.get(provider.key_env, '').strip() else ' is not set'}"


COMMANDS: Mapping[str, Command] = {
    "providers": Command(
        run=providers,
        summary="list the endpoints that answers can come from",
        example="kalign providers",
        words="",
        about_words="This command takes no words.",
    ),
    "ledger show": Command(
        run=ledger_show,
        summary="count the answers in a ledger, and their cost",
        example="kalign ledger show synth/ledger.sqlite",
        words="FILE",
        about_words="FILE is a ledger of answers.",
    ),
    "ledger merge": Command(
        run=ledger_merge,
        summary="take the ledgers of shards into one",
        example="kalign ledger merge ledger.sqlite shard-0.sqlite shard-1.sqlite",
        words="OUT FILE ...",
        about_words="OUT is made or added to; the others stay as they are.",
    ),
}
