"""The commands on providers and ledgers, as a user calls them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kalign.providers import shipped
from tests.providers.test_ledger import filled


def test_every_provider_is_listed_and_a_missing_key_is_named(kalign_here: Callable[..., Any]) -> None:
    shown = kalign_here("providers", OPENAI_API_KEY="canary", ANTHROPIC_API_KEY="")
    assert shown.returncode == 0 and all(name in shown.stdout for name in shipped())
    assert "ANTHROPIC_API_KEY" in shown.stdout and "canary" not in shown.stdout
    listed = json.loads(kalign_here("providers", "--json").stdout)["providers"]
    keys = {one["name"]: one["key"] for one in listed}
    assert (keys["openai"], keys["anthropic"]) == ("OPENAI_API_KEY", "ANTHROPIC_API_KEY is not set")


def test_ledgers_of_shards_become_one_and_are_counted(
    kalign_here: Callable[..., Any], tmp_path: Path
) -> None:
    filled(tmp_path / "0.sqlite", range(5), text="위험한 글")
    filled(tmp_path / "1.sqlite", range(5, 9))
    merged = kalign_here("ledger", "merge", "all.sqlite", "0.sqlite", "1.sqlite", "--json")
    assert json.loads(merged.stdout)["new"] == 9
    shown = kalign_here("ledger", "show", "all.sqlite")
    assert "9 answers in all.sqlite, 4.5000 US dollars" in shown.stdout
    assert "위험한" not in shown.stdout + merged.stdout
    assert kalign_here("ledger", "show", "none.sqlite").returncode == 2
    assert not Path("none.sqlite").exists()
