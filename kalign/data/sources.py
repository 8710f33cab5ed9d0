"""Where rows come from: files, folders, the Hub, culture packs, and formats that are not pairs yet."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from kalign import files, packs
from kalign.config import Source
from kalign.errors import ConfigError, DataError, ResourceError
from kalign.files import Row

EASY = "+easy"  # behind a pack's name
READERS: Mapping[str, Callable[[Path], Iterator[tuple[int, Row]]]] = {
    ".jsonl": files.read_jsonl,
    ".ndjson": files.read_jsonl,
    ".json": files.read_json,
    ".csv": files.read_csv,
    ".parquet": files.read_parquet,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRow:
    """One row as it was read: `unused` says why the source itself makes no pair of it, else None."""

    number: int  # line of the file, or position from 1
    content: Row
    unused: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What a source holds, and the facts about it that a user would want to check."""

    where: str
    sha256: str
    rows: list[SourceRow]
    facts: dict[str, int] = field(default_factory=dict)


def digest(source: Source) -> str:
    """The hash of what a source holds now, without reading its rows: of a file's bytes, or a Hub data set's
    commit."""
    path = source.path or ""
    if path.startswith("hub:"):
        return f"{path}@{source.revision}"
    if path.startswith("pack:"):
        return sha256(
            "".join(files.sha256(place) for place in _pack_files(path) if place.exists()).encode()
        ).hexdigest()
    place = Path(path).expanduser()
    return files.sha256(place) if place.exists() else ""


def read(source: Source) -> Rows:
    """All rows of one source.

    Raises:
        ConfigError: the path names nothing that can be read.
        DataError: a row is malformed.
        ResourceError: the Hub could not be reached.
    """
    path, numbered = stream(source)
    return FORMATS[source.format](path, digest(source), numbered)


def stream(source: Source) -> tuple[str, Iterable[tuple[int, Row]]]:
    """Where the rows of one source are, and each with its number, read one after the other as they stand
    there.

    Raises:
        ConfigError: the path names nothing that can be read.
        DataError: a row is malformed.
        ResourceError: the Hub could not be reached.
    """
    path = source.path
    if not path:
        raise ConfigError("a source has no path; give it a file, a folder, pack:NAME or hub:OWNER/NAME")
    if path.startswith("pack:"):
        rows = (row for place in _pack_files(path) for _, row in files.read_jsonl(place))
        return path, enumerate(rows, start=1)
    if path.startswith("hub:"):
        return path, _from_hub(source, path.removeprefix("hub:"))
    place = Path(path).expanduser()
    return path, _from_saved(place, source.split) if place.is_dir() else _from_file(place)


def _pack_files(path: str) -> list[Path]:
    """The pairs of `pack:NAME`; `pack:NAME+easy` adds its easy ones, if the pack has any."""
    name = path.removeprefix("pack:")
    if name.endswith(EASY):
        name = name.removesuffix(EASY)
        return [place for place in (packs.pairs(name), packs.easy_pairs(name)) if place.exists()]
    return [packs.pairs(name)]


def _from_file(path: Path) -> Iterator[tuple[int, Row]]:
    if not path.exists():
        raise DataError(f"data.path={path} does not exist; give the path of an existing file or folder")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"data.path={path} ends in {path.suffix or 'nothing'}; kalign reads {', '.join(READERS)}"
        )
    return reader(path)


def _from_saved(folder: Path, split: str) -> Iterator[tuple[int, Row]]:
    """Rows of a folder that `datasets` saved."""
    from datasets import Dataset, DatasetDict, load_from_disk

    try:
        saved = load_from_disk(folder)
    except (FileNotFoundError, ValueError) as wrong:
        raise DataError(
            f"data.path={folder} is no folder saved by datasets ({wrong}); give a file inside it"
        ) from wrong
    if isinstance(saved, DatasetDict):
        if split not in saved:
            raise ConfigError(f"data.split={split} is not in {folder}; it has {', '.join(saved)}")
        saved = saved[split]
    assert isinstance(saved, Dataset)
    return ((number, files.nfc(row)) for number, row in enumerate(saved, start=1))


def _from_hub(source: Source, name: str) -> Iterator[tuple[int, Row]]:
    from datasets import load_dataset

    try:
        loaded = load_dataset(name, source.subset, split=source.split, revision=source.revision)
    except Exception as wrong:  # the Hub's client raises many kinds; each means that the rows are not here
        said = " ".join(str(wrong).split())[:300]
        raise ResourceError(f"hub:{name} at {source.revision} could not be fetched: {said}") from wrong
    return ((number, files.nfc(row)) for number, row in enumerate(loaded, start=1))


def preference(where: str, sha256: str, numbered: Iterable[tuple[int, Row]]) -> Rows:
    """Rows that already are preference pairs."""
    return Rows(
        where=where, sha256=sha256, rows=[SourceRow(number=number, content=row) for number, row in numbered]
    )


def square(where: str, sha256: str, numbered: Iterable[tuple[int, Row]]) -> Rows:
    """SQuARe's labelled responses: each acceptable one is paired with each non-acceptable one of the same
    question.

    Raises:
        DataError: a row lacks a field of SQuARe's.

    Source:
        Lee et al. 2023, SQuARe, https://aclanthology.org/2023.acl-long.370.
    """
    by_question: dict[str, dict[int, list[tuple[int, str]]]] = {}
    total = 0
    for number, row in numbered:
        total += 1
        question, response, label = (row.get(key) for key in ("question", "response", "acceptable?"))
        if not isinstance(question, str) or not isinstance(response, str) or label not in (0, 1):
            raise DataError(
                f"{where}: row {number} is none of SQuARe's (question, response, acceptable? 0 or 1)"
            )
        by_question.setdefault(question, {0: [], 1: []})[label].append((number, response))
    rows = [row for question, labelled in by_question.items() for row in _square_pairs(question, labelled)]
    paired = [labelled for labelled in by_question.values() if labelled[0] and labelled[1]]
    used = sum(len(labelled[0]) + len(labelled[1]) for labelled in paired)
    facts = {
        "responses": total,
        "questions": len(by_question),
        "questions with both labels": len(paired),
        "responses in pairs": used,
        "responses without a partner": total - used,
    }
    return Rows(where=where, sha256=sha256, rows=rows, facts=facts)


def _square_pairs(question: str, labelled: dict[int, list[tuple[int, str]]]) -> Iterator[SourceRow]:
    if not (labelled[0] and labelled[1]):
        for number, _ in labelled[0] + labelled[1]:
            yield SourceRow(
                number=number, content={"id": str(number), "prompt": question}, unused="one label only"
            )
    for number, chosen in labelled[1]:
        for other, rejected in labelled[0]:
            content = {"id": f"{number}>{other}", "prompt": question, "chosen": chosen, "rejected": rejected}
            yield SourceRow(number=number, content=content)


FORMATS: Mapping[str, Callable[[str, str, Iterable[tuple[int, Row]]], Rows]] = {
    "preference": preference,
    "square": square,
}
