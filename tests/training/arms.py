"""Three arms of a training by tags: what they learn from, and what is told of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import Result, pair, write

Kalign = Callable[..., Result]
ARMS = ("none", "markers", "more_cultural_data")


def tag(kalign: Kalign, pairs_file: Path) -> None:
    """Write forty pairs, ten of them on a holiday, and their tags."""
    rows = [pair(number) for number in range(40)]
    for row in rows[:10]:
        row["prompt"] = f"설날에 {row['prompt']}"
    write(pairs_file, rows)
    done = kalign("tag", f"data.path={pairs_file}", "out=tags")
    assert done.returncode == 0, done.stderr


def trained(kalign: Kalign, study: list[str]) -> tuple[dict[str, dict[str, Any]], str]:
    """Train every arm and compare them: each by its name, and what was said for people."""
    for arm in ARMS:
        mode = ["data.markers.mode=inferred"] if arm == "markers" else []
        done = kalign("train", *study, f"data.markers.arm={arm}", "data.markers.cultural_share=0.5", *mode)
        assert done.returncode == 0, done.stderr[-3000:]
    compared = kalign("arms", "--json")
    assert compared.returncode == 0, compared.stderr
    told = json.loads(compared.stdout)
    assert told["differences"] == []
    by_arm: dict[str, dict[str, Any]] = {each["arm"]: each for each in told["arms"]}
    assert set(by_arm) == set(ARMS)
    assert {each["steps"] for each in told["arms"]} == {2}
    return by_arm, compared.stderr
