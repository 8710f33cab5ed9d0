"""A finished evaluation as it lies in its folder, after its files have proved to belong together."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kalign import files, runs
from kalign.errors import ConfigError, IntegrityError
from kalign.evaluation import responses, scores
from kalign.evaluation.scores import Score

FILE = "eval.json"


def folder(out: str | None, name: str, decided: Mapping[str, Any]) -> Path:
    """Where an evaluation lies: the folder that a user names, else one of `evals/` that its name and all
    that decides its answers name."""
    if out:
        return Path(out).expanduser()
    title = re.sub(r"[^\w.-]+", "-", name)
    return Path("evals") / f"{title}-{runs.fingerprint(decided)[:8]}"


def read(folder: Path) -> tuple[dict[str, Any], list[Score]]:
    """A finished evaluation: its result, and its rows.

    Raises:
        ConfigError: there is none.
        IntegrityError: its files do not belong together.
    """
    if not (folder / FILE).is_file():
        raise ConfigError(f"{folder} is no finished evaluation; kalign eval makes one, or goes on with it")
    result: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
    if "system" in result:
        raise ConfigError(
            f"{folder} is an evaluation on {result['system']}, which holds its comparison already; to put "
            "another model beside it, evaluate again with arms.NAME=RUN"
        )
    if files.sha256(folder / scores.FILE) != result["scores_sha256"]:
        raise IntegrityError(f"{folder / scores.FILE} is not what {FILE} was made of; evaluate again")
    rows = scores.read(folder / scores.FILE)
    for name in ("model", "base"):
        if result[name] is not None:
            _require_own(folder, name, result[name]["identity"], [row for row in rows if row.model == name])
    return result, rows


def _require_own(folder: Path, name: str, identity: Mapping[str, Any], rows: Sequence[Score]) -> None:
    """Refuse scores of answers that another model gave."""
    path = folder / "responses" / f"{name}.jsonl"
    head, said = responses.read(path)
    given = {(row["set"], row["id"], row["sha256"]): row["response"] for row in said}
    if runs.canonical(head.get("whose")) != runs.canonical(identity):
        raise IntegrityError(f"{path} holds the answers of another model than {folder / FILE} names")
    if given != {row.key: row.response for row in rows}:
        raise IntegrityError(f"{folder / scores.FILE} does not score the answers in {path}; evaluate again")
