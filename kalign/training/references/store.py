"""The file that keeps reference log-probs: one for each base as it is loaded, one row for each pair."""

import importlib.metadata
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy
import torch

from kalign import files
from kalign.config import Recipe
from kalign.errors import IntegrityError, ResourceError
from kalign.models import twins
from kalign.models.loading import Located
from kalign.runs import Run

Pair = Mapping[str, Sequence[int]]  # prompt_ids, chosen_ids, rejected_ids
TOKENS = ("prompt_ids", "chosen_ids", "rejected_ids")
PATIENCE_SECONDS = 120.0  # for another process that writes to the same file
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Logps:
    """The log-prob of every token of both answers, in nats, float32: (C,) and (R,)."""

    chosen: numpy.ndarray[Any, Any]
    rejected: numpy.ndarray[Any, Any]

    def sums(self, ld_alpha: float | None) -> tuple[float, float]:
        """What TRL takes as the log-probs of the two answers: their sums, with what is longer than the other
        answer weighed by `ld_alpha`."""
        shared = min(len(self.chosen), len(self.rejected))
        weight = 1.0 if ld_alpha is None else ld_alpha
        chosen, rejected = (
            float(numpy.float32(one[:shared].sum(dtype="f8") + weight * one[shared:].sum(dtype="f8")))
            for one in (self.chosen, self.rejected)
        )
        return chosen, rejected


def identity(
    recipe: Recipe, located: Located, base: Mapping[str, Any], *, template_sha256: str, device: torch.device
) -> dict[str, Any] | None:
    """All that decides the log-probs of a pair besides its tokens; None where the base has no identity.

    Args:
        base: what `loading.base_identity` says of the base.
        device: where it is run; other devices round differently.
    """
    weights = {name: value for name, value in base.items() if name in ("weights_sha256", "commit")}
    if not any(weights.values()):
        return None
    if located.folder:
        weights["config_sha256"] = files.sha256(located.folder / "config.json")
    else:
        weights["repo"] = located.name
    return {
        "format": FORMAT,
        "base": weights,
        "dtype": recipe.model.dtype,
        "bf16": recipe.trainer.bf16,
        "quantization": asdict(recipe.adapter.quantization)
        if recipe.adapter.quantization.load_in_4bit
        else None,
        "attention": recipe.model.attn_implementation,
        "template_sha256": template_sha256,
        "device": device.type,
        "versions": {name: importlib.metadata.version(name) for name in ("torch", "transformers")},
    }


def of_run(recipe: Recipe, run: Run, located: Located, device: torch.device) -> dict[str, Any] | None:
    """`identity`, from what the run has noted of its base and its template."""
    noted = run.read_manifest()["inputs"]
    return identity(recipe, located, noted["base"], template_sha256=noted["template_sha256"], device=device)


def key_of(pair: Pair) -> str:
    """The name of a pair in the store: the hash of its tokens."""
    digest = sha256()
    for name in TOKENS:
        ids = numpy.asarray(pair[name], dtype="<i4")
        digest.update(len(ids).to_bytes(8, "little") + ids.tobytes())
    return digest.hexdigest()


def folder() -> Path:
    """Where stores lie: `kalign/references` in the user's cache folder (XDG_CACHE_HOME, or ~/.cache)."""
    return twins.cache().with_name("references")


class Store:
    """The log-probs of pairs under one base, in a SQLite file that several processes may use at once.

    Args:
        made_from: what `identity` says; its hash is the name of the file.
    """

    def __init__(self, made_from: Mapping[str, Any], *, where: Path | None = None) -> None:
        text = json.dumps(made_from, sort_keys=True)
        self.key = sha256(text.encode()).hexdigest()
        self.path = (where or folder()) / f"{self.key[:24]}.sqlite"
        with self._connection() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS made_from (text TEXT PRIMARY KEY)")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS pairs (key TEXT PRIMARY KEY, chosen BLOB, rejected BLOB)"
            )
            connection.execute("INSERT OR IGNORE INTO made_from VALUES (?)", (text,))

    def read(self, keys: Iterable[str]) -> dict[str, Logps]:
        """The log-probs of those pairs that are there.

        Raises:
            IntegrityError: the file cannot be read.
        """
        with self._connection() as connection:
            found = {}
            for key in keys:
                row = connection.execute(
                    "SELECT chosen, rejected FROM pairs WHERE key = ?", (key,)
                ).fetchone()
                if row:
                    chosen, rejected = (numpy.frombuffer(one, dtype="<f4") for one in row)
                    found[key] = Logps(chosen=chosen, rejected=rejected)
        return found

    def add(self, rows: Mapping[str, Logps]) -> None:
        """Write some pairs, all or none of them."""
        with self._connection() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO pairs VALUES (?, ?, ?)",
                [
                    (key, one.chosen.astype("<f4").tobytes(), one.rejected.astype("<f4").tobytes())
                    for key, one in rows.items()
                ],
            )

    @contextmanager
    def _connection(self) -> Any:
        """A connection for one transaction.

        Raises:
            IntegrityError: the file is damaged.
            ResourceError: it cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=PATIENCE_SECONDS)
        except (OSError, sqlite3.OperationalError) as wrong:
            raise ResourceError(
                f"{self.path} cannot be written ({wrong}); set XDG_CACHE_HOME to a folder that can be, or "
                "use trainer.reference_store=false"
            ) from wrong
        try:
            with connection:
                yield connection
        except sqlite3.OperationalError as wrong:
            raise ResourceError(
                f"{self.path} cannot be written ({wrong}); set XDG_CACHE_HOME to a folder with room that "
                "only this machine writes to, or use trainer.reference_store=false"
            ) from wrong
        except sqlite3.DatabaseError as wrong:
            raise IntegrityError(
                f"{self.path} is damaged ({wrong}); remove it, and it is made again"
            ) from wrong
        finally:
            connection.close()
