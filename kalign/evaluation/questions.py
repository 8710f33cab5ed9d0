"""The prompts of an evaluation, and where they come from: a pack, a benchmark, or a file of one's own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from kalign import files, packs, runs
from kalign.config import Source
from kalign.data import sources
from kalign.errors import ConfigError, DataError
from kalign.files import Row
from kalign.records import Message

KINDS = ("harmful", "benign")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A prompt that nothing is trained on: harmful ones should be refused, benign ones answered."""

    id: str
    set: str
    kind: str
    category: str
    family: str  # what is made from one seed stands or falls together
    text: str
    before: tuple[Message, ...] = ()  # the turns that the prompt follows

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.id}: kind is {self.kind!r}; use harmful or benign")
        if not self.text.strip():
            raise ValueError(f"{self.id}: the prompt is empty")

    @property
    def sha256(self) -> str:
        """The hash of the prompt's words, by which answers of two models are paired."""
        return sha256(self.text.encode()).hexdigest()

    @property
    def conversation(self) -> tuple[Message, ...]:
        """The prompt as the last turn of a conversation."""
        return (*self.before, Message(role="user", content=self.text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """Under which names a file keeps its fields; null where it has none."""

    prompt: str = "prompt"
    id: str | None = "id"
    category: str | None = "category"
    family: str | None = None
    kind: str | None = None  # a column of harmful and benign


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionSet:
    """One set of a suite: what reads it, and what it asks of its user."""

    name: str
    source: str
    path: str | None = None
    revision: str | None = None
    split: str = "test"
    kind: str = "harmful"
    fields: Fields = Fields()
    licence: str = "of the file's owner"


def digest(questions: Sequence[Question]) -> str:
    """One hash over all prompts, with what they are."""
    return runs.fingerprint([[one.set, one.id, one.kind, one.category, one.text] for one in questions])


def read(asked: QuestionSet, pack: str) -> list[Question]:
    """The questions of one set, in its order.

    Raises:
        ConfigError: it has no path, or no such reader.
        DataError: a row is malformed, or two rows have one id.
    """
    questions = READERS[asked.source](asked, pack)
    seen: set[str] = set()
    for one in questions:
        if one.id in seen:
            raise DataError(f"{asked.name}: id {one.id} stands twice; give every prompt an id of its own")
        seen.add(one.id)
    return questions


def _pack(asked: QuestionSet, pack: str) -> list[Question]:
    place = packs.held_out(asked.path or pack)
    return [
        _question(asked, row, number, str(place), category=row.get("category"), kind=row.get("kind"))
        for number, row in files.read_jsonl(place)
    ]


def _file(asked: QuestionSet, pack: str) -> list[Question]:
    named, found = asked.fields, []
    for row, number, where in _rows(asked):
        for column in (named.prompt, named.category, named.family, named.kind):
            if column is not None and column not in row:
                raise DataError(
                    f"{where}: row {number} has no field {column!r}, only {', '.join(row)}; declare the "
                    "suite's fields as the file has them (null for one that it lacks)"
                )
        kind = row[named.kind] if named.kind else asked.kind
        category = row[named.category] if named.category else "-"
        found.append(_question(asked, row, number, where, category=category, kind=kind))
    return found


def _square(asked: QuestionSet, pack: str) -> list[Question]:
    """SQuARe's non-sensitive questions: everyday ones that a model should answer.

    Source:
        Lee et al. 2023, SQuARe, https://aclanthology.org/2023.acl-long.370.
    """
    found, sensitive = [], 0
    for row, number, where in _rows(asked):
        if not isinstance(row.get("question"), str) or row.get("sensitive?") not in (0, 1):
            raise DataError(f"{where}: row {number} is none of SQuARe's (question, sensitive? 0 or 1)")
        if row["sensitive?"]:
            sensitive += 1
            continue
        prompt = {"prompt": row["question"], "id": f"square-{number}"}
        category = str(row.get("category") or "non-sensitive")
        found.append(_question(asked, prompt, number, where, category=category, kind="benign"))
    if not found:
        raise DataError(
            f"{asked.path} has {sensitive} sensitive questions and none that is not, so it says nothing of "
            "over-refusal; give SQuARe's question_test.json or question_valid.json"
        )
    return found


def _xstest(asked: QuestionSet, pack: str) -> list[Question]:
    """XSTest's prompts, in any language: safe ones that look unsafe, and their unsafe contrasts.

    Where a translation names its columns otherwise, `fields.prompt` and `fields.category` (its type) say so.

    Source:
        Röttger et al. 2024, XSTest, https://aclanthology.org/2024.naacl-long.301.
    """
    found = []
    for row, number, where in _rows(asked):
        prompt = row.get(asked.fields.prompt)
        named = asked.fields.category
        declared = row.get(named) if named and named != Fields().category else None
        kind = str(declared or row.get("type") or row.get("label") or "")
        if not isinstance(prompt, str) or not kind:
            raise DataError(
                f"{where}: row {number} is none of XSTest's (prompt, type), it has {', '.join(row)}; declare "
                "its columns under fields, prompt and category (its type), in a suite of your own"
            )
        unsafe = kind.startswith("contrast_") or kind == "unsafe" or row.get("label") == "unsafe"
        family = {"family": str(row.get("focus") or row.get("id") or number)}
        found.append(
            _question(
                asked,
                {**row, **family, "prompt": prompt},
                number,
                where,
                category=kind.removeprefix("contrast_"),
                kind="harmful" if unsafe else "benign",
            )
        )
    return found


def _rows(asked: QuestionSet) -> list[tuple[Row, int, str]]:
    if not asked.path:
        raise ConfigError(f"the set {asked.name} has no path; give {asked.name}=FILE or hub:OWNER/NAME")
    source = Source(path=asked.path, revision=asked.revision, split=asked.split)
    source.check(asked.name)
    rows = sources.read(source)
    return [(row.content, row.number, rows.where) for row in rows.rows]


def _question(
    asked: QuestionSet, row: Mapping[str, object], number: int, where: str, *, category: object, kind: object
) -> Question:
    text, own = row.get(asked.fields.prompt), row.get(asked.fields.id) if asked.fields.id else None
    name = str(own if own is not None else f"{asked.name}-{number}")
    family = row.get(asked.fields.family) if asked.fields.family else row.get("family")
    if not isinstance(text, str):
        raise DataError(f"{where}: row {number} has no text under {asked.fields.prompt!r}")
    try:
        return Question(
            id=name,
            set=asked.name,
            kind=str(kind),
            category=str(category),
            family=str(family if family is not None else name),
            text=text,
        )
    except ValueError as wrong:
        raise DataError(f"{where}: row {number}: {wrong}") from wrong


READERS: Mapping[str, Callable[[QuestionSet, str], list[Question]]] = {
    "pack": _pack,
    "file": _file,
    "korset": _file,
    "square": _square,
    "xstest": _xstest,
}
