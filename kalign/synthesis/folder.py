"""The folder of one pipeline: private, bound to its settings, and aware of what is the user's own in it.

synth/ko_dpo-1a2b3c4d/
    pipeline.json    what was asked for
    ledger.sqlite    every answer of every model
    batches/         what waits for vendors' batches (transport=batch), and their results
    plan.json        how many seeds of each type each wave draws
    seeds.jsonl attacks.jsonl responses.jsonl judged.jsonl    what each stage made, dropped rows included
    triplets.jsonl triplets.parquet README.md                 the data set and its card
    state.json report.html                                    the account of it
"""

import contextlib
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from kalign import files, runs
from kalign.errors import ConfigError, DataError, IntegrityError
from kalign.synthesis import rows

STAGES = ("seeds", "attack", "respond", "judge", "triplets")
FILES = {
    "seeds": "seeds.jsonl",
    "attack": "attacks.jsonl",
    "respond": "responses.jsonl",
    "judge": "judged.jsonl",
}
SHARDS = "shards"
RESULTS = ("README.md", "report.html", "triplets.jsonl", "triplets.parquet")  # written over by every run
T = TypeVar("T")


@dataclass(frozen=True)
class Folder:
    """The paths in it."""

    path: Path

    @property
    def asked(self) -> Path:
        """What was asked for."""
        return self.path / "pipeline.json"

    @property
    def ledger(self) -> Path:
        """Every answer of every model."""
        return self.path / "ledger.sqlite"

    @property
    def plan(self) -> Path:
        """How many seeds of each type each wave draws."""
        return self.path / "plan.json"

    @property
    def batches(self) -> Path:
        """What waits for vendors' batches, and their results."""
        return self.path / "batches"

    @property
    def state(self) -> Path:
        """Which files kalign wrote, and what each stage asked."""
        return self.path / "state.json"

    @property
    def review(self) -> Path:
        """What people decided."""
        return self.path / "review.json"

    def of(self, stage: str) -> Path:
        """The file that a stage writes."""
        return self.path / FILES[stage]

    def shard(self, which: int, of: int) -> "Folder":
        """The folder of one shard."""
        return Folder(self.path / SHARDS / f"{which}-of-{of}")

    @property
    def done(self) -> Path:
        """That a shard is done, and with which settings; written last."""
        return self.path / "done.json"

    @property
    def jobs(self) -> Path:
        """Logs and exit codes of the jobs of shards."""
        return self.path / "jobs"

    def shards(self) -> list[Path]:
        """The ledgers of all shards."""
        return sorted(self.path.glob(f"{SHARDS}/*/ledger.sqlite"))

    def noted(self) -> dict[str, Any]:
        """What each stage noted of itself."""
        return _json(self.state)

    def note(self, stage: str, content: Mapping[str, Any]) -> None:
        """Keep what a stage says of itself."""
        files.write_json(self.state, {**self.noted(), stage: dict(content)})

    def is_own(self, stage: str) -> bool:
        """Whether a stage's file is the user's: it is there, and kalign did not write it so."""
        path = self.of(stage)
        if not path.is_file():
            return False
        return files.sha256(path) not in self.noted().get(stage, {}).get("sha256", [])

    def require_not_own(self, stage: str) -> None:
        """Refuse to write over what is the user's.

        Raises:
            ConfigError: the stage's file is.
        """
        if self.is_own(stage):
            raise ConfigError(
                f"{self.of(stage)} is not what kalign wrote, so it is not written over; move it away to make "
                "it anew"
            )

    def write(self, stage: str, records: Iterable[Any], content: Callable[[], Mapping[str, Any]]) -> None:
        """Write a stage's file row by row, so that it is known as kalign's even when killed in between.

        Args:
            content: what the stage says of itself once the last row is there.

        Raises:
            ConfigError: the file there is the user's own.
        """
        path = self.of(stage)
        self.require_not_own(stage)
        draft = self.path / f".{stage}.draft.jsonl"
        rows.write(draft, records)
        known = self.noted().get(stage, {}).get("sha256", [])
        hashes = list(dict.fromkeys([*known, files.sha256(draft)]))
        self.note(stage, {**content(), "sha256": hashes[-20:]})
        draft.replace(path)
        files.flush(self.path)

    def read(self, stage: str, kind: type[T]) -> Iterator[T]:
        """Yield the records of a stage.

        Raises:
            ConfigError: it has not run yet.
            DataError: its file is not what it should be.
        """
        return rows.read(self.made(stage), kind)

    def made(self, stage: str) -> Path:
        """The file of a stage that has run, in which each row has an id of its own.

        Raises:
            ConfigError: it has not run yet.
            DataError: two rows of a user's own file have one id.
        """
        path = self.of(stage)
        if not path.is_file():
            raise ConfigError(
                f"{path} is missing; run 'kalign synth {stage}' first, or put your own file there"
            )
        if self.is_own(stage):
            rows.require_unique(path)
        return path


@contextlib.contextmanager
def private() -> Iterator[None]:
    """Whatever is written meanwhile is for the user's eyes only."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def require_same(folder: Folder, determining: Mapping[str, Any], accepted: Collection[str]) -> None:
    """Refuse to go on in a folder that was made with other settings.

    Raises:
        IntegrityError: a setting differs, and is not accepted.
        ConfigError: the folder is something else's.
    """
    before = _json(folder.asked).get("determining")
    if before is None:
        _require_free(folder.path)
        return
    now = json.loads(runs.canonical(determining))
    changed = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    if left := [key for key in changed if key not in accepted]:
        details = "; ".join(f"{key} was {before.get(key)!s:.60}, is {now.get(key)!s:.60}" for key in left)
        raise IntegrityError(
            f"{folder.path} was made with other settings: {details}; give another out=, or --accept-change "
            f"{left[0]} to make its files anew (answers to equal questions are kept)"
        )


def _require_free(path: Path) -> None:
    """Refuse to begin where something else lies that a run would write over; stages' files may be there.

    Raises:
        ConfigError: it does.
    """
    if path.exists() and not path.is_dir():
        raise ConfigError(f"out={path} is a file; give a folder, which may be a new one")
    for name in RESULTS:
        if (path / name).exists():
            raise ConfigError(
                f"out={path} holds {name}, which no pipeline of kalign's wrote there; give another folder"
            )


def asked(folder: Folder) -> dict[str, Any]:
    """The words and the day that a folder was made with; empty, where it is new."""
    return _json(folder.asked)


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path} is not what kalign wrote; remove it to start anew")
    return content


def read_json(path: Path) -> Any:
    """What one of kalign's own files in a folder holds.

    Raises:
        DataError: it is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as wrong:
        raise DataError(f"{path} is no JSON; remove it to start anew") from wrong
