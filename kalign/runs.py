"""A run: its folder (named by what determines it), its lock, its manifest, and how to tell that it is
finished.

runs/tiny-1a2b3c4d/
    recipe.yaml     what was asked for, resolved
    manifest.json   what determined the result: hashes of data, template and base, versions, git commit
    ledger.parquet  one line for every row of every source
    pairs/          the tokenised pairs
    checkpoints/    checkpoint-N/, each with a manifest written last
    history.jsonl   the curves
    adapter/        the trained adapter
    held_out_answers.jsonl  answers to the pack's held-out prompts, if the recipe asks for them
    result.json     before and after; written last, so a run that has it is finished
"""

import contextlib
import hashlib
import importlib.metadata
import json
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kalign
from kalign import locks
from kalign.errors import IntegrityError, ResourceError

LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes", "datasets", "tokenizers")


@dataclass(frozen=True)
class Run:
    """The folder of one run and the paths in it."""

    path: Path

    @property
    def lock(self) -> Path:
        """Held by the process that trains it."""
        return self.path / "run.lock"

    @property
    def manifest(self) -> Path:
        """What determined the result."""
        return self.path / "manifest.json"

    @property
    def ledger(self) -> Path:
        """What became of every row."""
        return self.path / "ledger.parquet"

    @property
    def pairs(self) -> Path:
        """The tokenised pairs, for the ranks that did not make them."""
        return self.path / "pairs"

    @property
    def checkpoints(self) -> Path:
        """Where training can go on from."""
        return self.path / "checkpoints"

    @property
    def history(self) -> Path:
        """The curves."""
        return self.path / "history.jsonl"

    @property
    def panel(self) -> Path:
        """What a few held-out prompts were answered during the training, look by look."""
        return self.path / "panel.jsonl"

    @property
    def alarms(self) -> Path:
        """When the training looked collapsed, and by which rule."""
        return self.path / "alarms.jsonl"

    @property
    def kept(self) -> Path:
        """Checkpoints of the steps at which it first did, which are never dropped."""
        return self.path / "kept"

    @property
    def adapter(self) -> Path:
        """The trained adapter."""
        return self.path / "adapter"

    @property
    def answers(self) -> Path:
        """What was answered to the pack's held-out prompts, before and after, with verdicts."""
        return self.path / "held_out_answers.jsonl"

    @property
    def result(self) -> Path:
        """What changed; the last file that a run writes."""
        return self.path / "result.json"

    def read_manifest(self) -> dict[str, Any]:
        """The manifest that it was started with.

        Raises:
            IntegrityError: it cannot be read.
        """
        return self._read(self.manifest)

    def read_result(self) -> dict[str, Any]:
        """What came out of it.

        Raises:
            IntegrityError: it cannot be read.
        """
        return self._read(self.result)

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as wrong:
            raise IntegrityError(
                f"{path} is damaged ({wrong}); remove {self.path} and train it again"
            ) from wrong
        return content


def canonical(content: Any) -> str:
    """One text for equal contents, whatever the order of their keys."""
    return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)


def fingerprint(content: Any) -> str:
    """sha256 of the canonical text, as 64 hex digits."""
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The settings of nested blocks by their dotted keys, as a user writes them.

    >>> flat({"loss": {"beta": 0.1}, "name": "tiny"})
    {'loss.beta': 0.1, 'name': 'tiny'}
    """
    found: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def named(runs_dir: Path, name: str, determining: Mapping[str, Any]) -> Run:
    """The run that `determining` decides; every rank and every repetition finds the same folder."""
    return Run(runs_dir / f"{name}-{fingerprint(determining)[:8]}")


@contextlib.contextmanager
def locked(run: Run, *, setting: str = "out") -> Iterator[None]:
    """Keep every other process out of the run's folder; the lock goes with the process, however that ends.

    Args:
        setting: the key that says where the folder lies.

    Raises:
        ConfigError: another process holds it.
        ResourceError: the folder cannot be written.
    """

    def busy(holder: str) -> str:
        return (
            f"{run.path} is locked by {holder}, which works there right now; wait for it, or change the "
            "command"
        )

    with locks.held(run.lock, busy=busy, elsewhere=f"set {setting} to another folder"):
        yield


def versions() -> dict[str, str]:
    """The versions that a result depends on."""
    found = {"kalign": kalign.__version__, "python": platform.python_version()}
    for library in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[library] = importlib.metadata.version(library)
    return found


def git_commit() -> str | None:
    """The commit of the code that runs, with "+changes" where files differ from it; None outside a
    checkout."""
    here = Path(kalign.__file__).resolve().parent
    git = ["git", "-C", str(here)]
    try:
        head = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        )
        changed = subprocess.run(
            [*git, "status", "--porcelain"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("+changes" if changed.stdout.strip() else "")


def require_same(recorded: Mapping[str, Any], now: Mapping[str, Any], run: Run) -> None:
    """Refuse to go on with a run whose inputs are no longer what they were.

    Raises:
        IntegrityError: an input differs; the message names each one.
    """
    changed = [
        key for key in sorted({*recorded, *now}) if canonical(recorded.get(key)) != canonical(now.get(key))
    ]
    if changed:
        details = "; ".join(
            f"{key} was {_short(recorded.get(key))}, is {_short(now.get(key))}" for key in changed
        )
        raise IntegrityError(
            f"{run.path} was made from other inputs: {details}; restore them, or set runs_dir to start "
            "afresh elsewhere"
        )


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else canonical(value)
    return text if len(text) <= 80 else text[:77] + "..."


def require_space(path: Path, needed_bytes: int) -> None:
    """Refuse to start what the disk cannot hold.

    Raises:
        ResourceError: less than `needed_bytes` are free where `path` lies.
    """
    free = shutil.disk_usage(path).free
    if free < needed_bytes:
        raise ResourceError(
            f"{path} has {free / 2**30:.2f} GiB free, the run needs about {needed_bytes / 2**30:.2f} GiB "
            "for its "
            "checkpoints; free some, lower trainer.save_total_limit, or set runs_dir to another disk"
        )
