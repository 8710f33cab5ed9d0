"""Tags beside a corpus: part by part, so that a killed command goes on where it stopped.

DIR/
    tagging.json    what determines the tags: the corpus by its hash, the tagger, the schema
    parts/          tags of 10,000 rows each, until all are there
    tags.parquet    all of them, in the order of the corpus; written last
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from tqdm import tqdm

from kalign import files, runs
from kalign.data import tags
from kalign.errors import ConfigError, DataError, IntegrityError
from kalign.markers import corpora, schema
from kalign.markers.corpora import Corpus, Sample
from kalign.markers.tagger import Tagged, Tagger
from kalign.providers.deferred import Waiting

PART_ROWS = 10_000
LIST = pyarrow.list_(pyarrow.string())
SCHEMA = pyarrow.schema(
    [
        (
            name,
            {"row": pyarrow.int64(), "lang_prob": pyarrow.float64(), "confidence": pyarrow.float64()}.get(
                name, LIST if name in tags.LISTS else pyarrow.string()
            ),
        )
        for name in tags.COLUMNS
    ]
)


@dataclass(frozen=True)
class Shard:
    """Which parts one process makes: those whose number leaves `number` when divided by `of`."""

    number: int = 0
    of: int = 1


def folder(corpus: Corpus, tagger: Tagger) -> Path:
    """Where the tags of a corpus lie if nobody says otherwise: named by what determines them."""
    stem = Path(corpus.source.path or "").stem.replace(":", "-") or corpus.name
    return Path("tags") / f"{stem}-{runs.fingerprint(_identity(corpus, tagger))[:8]}"


def tag(corpus: Corpus, tagger: Tagger, out: Path, shard: Shard | None = None) -> Path | None:
    """Tag a corpus, or go on where an earlier call stopped, and return the file of its tags.

    Args:
        shard: make only some of the parts; a call without it makes those that are left, and joins all.

    Returns:
        The path of tags.parquet; None after a shard.

    Raises:
        Waiting: the tagger has asked for all it needs, and some of it is still to come.
        ConfigError: the corpus names nothing that can be read.
        DataError: a row is malformed.
        IntegrityError: the folder holds tags of something else.
    """
    corpus.check()
    whole = out / "tags.parquet"
    _require_same(out, _identity(corpus, tagger))
    if whole.exists():
        return whole
    wanted = shard or Shard()
    parts = []
    waiting = False
    read = tqdm(corpora.samples(corpus), desc=f"tagging {corpus.name}", unit="row", leave=False)
    for number, batch in enumerate(corpora.batches(read, PART_ROWS)):
        part = out / "parts" / f"{number:06d}.parquet"
        parts.append(part)
        if number % wanted.of == wanted.number and not part.exists():
            try:
                _write(part, _rows(corpus, batch, tagger))
            except Waiting:
                waiting = True
    if waiting:
        raise Waiting
    if shard is not None:
        files.write_json(_done(out, shard), {"parts": len(parts)})
        return None
    if not parts:
        raise DataError(f"no row of {corpus.source.path} is left to tag; raise share={corpus.share}")
    with files.atomic(whole) as partial, pyarrow.parquet.ParquetWriter(partial, SCHEMA) as writer:
        for part in parts:
            writer.write_table(pyarrow.parquet.read_table(part, schema=SCHEMA))
    shutil.rmtree(out / "parts")
    return whole


def is_done(out: Path, shard: Shard) -> bool:
    """Whether a shard's parts are all there, or joined already."""
    return (out / "tags.parquet").exists() or _done(out, shard).exists()


def _done(out: Path, shard: Shard) -> Path:
    return out / "parts" / f"{shard.number}-of-{shard.of}.json"


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file of tags, one after the other.

    Raises:
        DataError: it cannot be read.
    """
    for _, row in files.read_parquet(tags.sidecar(path)):
        yield row


def _identity(corpus: Corpus, tagger: Tagger) -> dict[str, Any]:
    return {**corpus.identity(), **_made_by(corpus, tagger), "rows_a_part": PART_ROWS}


def _made_by(corpus: Corpus, tagger: Tagger) -> dict[str, str | None]:
    if corpus.tagged:
        return {"tagger": "declared", "tagger_version": schema.load().version, "prompt_hash": None}
    return {"tagger": tagger.name, "tagger_version": tagger.version, "prompt_hash": tagger.prompt_hash}


def of_folder(out: Path) -> dict[str, Any]:
    """What a folder of tags notes of itself.

    Raises:
        DataError: it is no such folder, or damaged.
    """
    noted = out / "tagging.json"
    if not noted.is_file():
        raise DataError(f"{out} is no folder that kalign tag wrote; give tags=DIR")
    try:
        return files.parse_object(noted.read_text(encoding="utf-8"), str(noted))
    except UnicodeDecodeError as wrong:
        raise DataError(f"{noted} is no text; remove {out}, and tag again") from wrong


def _require_same(out: Path, identity: dict[str, Any]) -> None:
    noted = out / "tagging.json"
    if out.exists() and not out.is_dir():
        raise ConfigError(f"out={out} is a file; give a folder, which may be a new one")
    if not noted.exists():
        for name in ("parts", "tags.parquet"):  # would be taken for ours, and the first one be removed
            if (out / name).exists():
                raise ConfigError(f"{out} holds {name} that kalign did not write; give another out=")
        files.write_json(noted, identity)
    old = of_folder(out)
    changed = [
        key
        for key in sorted({*old, *identity})
        if runs.canonical(old.get(key)) != runs.canonical(identity.get(key))
    ]
    if changed:
        told = "; ".join(f"{key} was {old.get(key)}, is {identity.get(key)}" for key in changed)
        raise IntegrityError(f"{out} holds the tags of something else: {told}; give another out=")


def _rows(corpus: Corpus, batch: Sequence[Sample], tagger: Tagger) -> list[dict[str, Any]]:
    if corpus.tagged:
        found = [Tagged(tags=sample.tags) for sample in batch if sample.tags is not None]
    else:
        found = tagger([sample.text for sample in batch])
    made_by = _made_by(corpus, tagger)
    made = []
    for sample, tagged in zip(batch, found, strict=True):
        each = tagged.tags
        made.append(
            {
                "sample_id": sample.id,
                "source_dataset": corpus.name,
                "stage": corpus.stage,
                "row": sample.row,
                "text_sha256": tags.key(sample.text),
                **{dimension: getattr(each, dimension) for dimension in tags.DIMENSIONS},
                "lang_prob": tagged.lang_prob,
                "confidence": tagged.confidence,
                "status": each.status,
                **made_by,
                "raw": tagged.raw,
            }
        )
    return made


def _write(path: Path, made: Sequence[dict[str, Any]]) -> None:
    with files.atomic(path) as partial:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(made), schema=SCHEMA), partial)
