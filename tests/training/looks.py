"""What a run's panel saw, for the tests of one process and of two."""

import json
from pathlib import Path
from typing import Any


def looks(run: Path) -> list[dict[str, Any]]:
    """The looks of a run, without how long they took."""
    rows = [json.loads(line) for line in (run / "panel.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]
