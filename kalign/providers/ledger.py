"""The ledger of answers: one SQLite file, keyed by what was asked, so that nothing is asked or paid twice.

An answer counts as given only when it is on disk, and answers that arrive together share one commit. The
file is private, because it holds what models said under attack.
"""

import contextlib
import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kalign import files, runs
from kalign.errors import IntegrityError, ResourceError
from kalign.providers import disk
from kalign.providers.answer import FINAL, Answer, Status, Usage
from kalign.providers.objects import parsed
from kalign.providers.request import Request

SCHEMA_VERSION = "1"
LAYOUT = """
CREATE TABLE IF NOT EXISTS answer (
    key TEXT PRIMARY KEY, about TEXT NOT NULL, provider TEXT NOT NULL, asked TEXT NOT NULL,
    status TEXT NOT NULL, text TEXT NOT NULL, reason TEXT NOT NULL, model TEXT NOT NULL, finish TEXT NOT NULL,
    tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL, cost REAL, attempts INTEGER NOT NULL,
    seconds REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS spent (
    id TEXT PRIMARY KEY, provider TEXT NOT NULL, asked TEXT NOT NULL, cost REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
MAGIC = b"SQLite format 3\0"
TABLES = {"answer", "spent", "meta"}
COLUMNS = (
    "key, about, provider, asked, status, text, reason, model, finish, tokens_in, tokens_out, cost, "
    "attempts, seconds"
)
# What an answer cost that another one takes the place of
REPLACED = (
    "INSERT INTO spent SELECT lower(hex(randomblob(16))), provider, asked, cost FROM answer "
    "WHERE key = ? AND cost > 0"
)
KEEP_FACT = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
RESERVE = "reserve"  # the fact that says how many dollars are on the way
PLACES = ", ".join("?" for _ in COLUMNS.split(","))
# Of another ledger, but for what is final here already
TAKE_ANSWERS = (
    f"INSERT OR REPLACE INTO answer ({COLUMNS}) SELECT {COLUMNS} FROM other.answer AS one WHERE NOT EXISTS "
    "(SELECT 1 FROM main.answer AS known WHERE known.key = one.key AND known.status IN "
    f"({', '.join('?' for _ in FINAL)}))"
)
LARGEST_QUESTION = 500  # keys looked up at once


class Ledger:
    """One open ledger; the only one that writes this file, until it is closed.

    Raises:
        ConfigError: another process writes it.
        IntegrityError: the file is no ledger, or damaged.
        ResourceError: it lies on a network file system, or cannot be written.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).expanduser()
        disk.require_local(self.path)
        with contextlib.ExitStack() as opening:
            self._lock = opening.enter_context(disk.locked(self.path))
            with _plainly(self.path):
                self._require_ledger()
                disk.create_private(self.path)
                self._database = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
                opening.callback(self._database.close)
                self._reader = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
                opening.callback(self._reader.close)
                self._database.execute("PRAGMA journal_mode=WAL")
                self._database.execute("PRAGMA synchronous=FULL")
                self._database.executescript(LAYOUT)
                self._database.execute(
                    "INSERT OR IGNORE INTO meta VALUES ('schema_version', ?)", (SCHEMA_VERSION,)
                )
                self._count_reserve()
            self._closing = opening.pop_all()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Fold the log into the file and let another process have it."""
        self._closing.close()

    def find(self, wanted: Mapping[str, Request], *, unfinished: bool = False) -> dict[str, Answer]:
        """The answers that are kept, by key.

        Args:
            unfinished: those too that the next run would ask for again.
        """
        found: dict[str, Answer] = {}
        keys = list(wanted)
        for start in range(0, len(keys), LARGEST_QUESTION):
            some = keys[start : start + LARGEST_QUESTION]
            places = ",".join("?" * len(some))
            with _plainly(self.path):
                rows = self._reader.execute(f"SELECT {COLUMNS} FROM answer WHERE key IN ({places})", some)
                answers = [read_answer(row, wanted[row[0]]) for row in rows]
            found |= {answer.key: answer for answer in answers if unfinished or answer.final}
        return found

    def keep(self, answers: Sequence[Answer], lost: Sequence[tuple[Request, float]] = ()) -> None:
        """Write answers, and the cost of attempts that gave none, in one commit; they are on disk when this
        returns.

        Raises:
            ResourceError: the disk is full; nothing of this commit is kept, everything before it is.
        """
        with _plainly(self.path), self._transaction():
            self._database.executemany(REPLACED, [(answer.key,) for answer in answers])
            self._database.executemany(
                f"INSERT OR REPLACE INTO answer ({COLUMNS}) VALUES ({PLACES})", map(written_answer, answers)
            )
            self._database.executemany(
                "INSERT INTO spent VALUES (lower(hex(randomblob(16))), ?, ?, ?)",
                [(request.provider.name, request.provider.model, cost) for request, cost in lost],
            )

    def spent(self) -> float:
        """US dollars that all answers and lost attempts in it have cost, as far as prices are known."""
        with _plainly(self.path):
            [total] = self._database.execute(
                "SELECT (SELECT TOTAL(cost) FROM answer) + (SELECT TOTAL(cost) FROM spent)"
            ).fetchone()
        return float(total)

    def reserve(self, dollars: float) -> None:
        """Note what requests on the way may cost: if this process is killed, that counts as spent."""
        with _plainly(self.path):
            if dollars:
                self._database.execute(KEEP_FACT, (RESERVE, repr(dollars)))
            else:
                self._database.execute("DELETE FROM meta WHERE name = ?", (RESERVE,))

    def _count_reserve(self) -> None:
        """Count as spent what was on the way when the last process was killed."""
        with self._transaction():
            self._database.execute(
                "INSERT INTO spent SELECT lower(hex(randomblob(16))), 'killed', '', CAST(value AS REAL) "
                "FROM meta WHERE name = ?",
                (RESERVE,),
            )
            self._database.execute("DELETE FROM meta WHERE name = ?", (RESERVE,))

    def counts(self) -> dict[tuple[str, str, str], int]:
        """How many answers there are, by provider, model and status."""
        with _plainly(self.path):
            rows = self._database.execute(
                "SELECT provider, asked, status, COUNT(*) FROM answer GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
            )
            return {(provider, asked, status): count for provider, asked, status, count in rows}

    def require_same(self, settings: Mapping[str, Any], *, accepted: Collection[str] = ()) -> None:
        """Remember the settings that the answers belong to, or refuse others than were remembered.

        Args:
            settings: by dotted key.
            accepted: keys that may differ, because the user said so; their new value is remembered.

        Raises:
            IntegrityError: a setting differs; the message names each one.
        """
        remembered = self.remembered("settings")
        now = json.loads(runs.canonical(settings))
        if remembered is not None:
            before = json.loads(remembered)
            kept = {key: value for key, value in before.items() if key not in accepted}
            asked = {key: value for key, value in now.items() if key not in accepted}
            runs.require_same(kept, asked, runs.Run(self.path))
        self.remember("settings", runs.canonical(now))

    def remembered(self, name: str) -> str | None:
        """A fact that was kept; None if it never was."""
        with _plainly(self.path):
            row = self._database.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def remembered_all(self, prefix: str) -> list[str]:
        """The facts whose names begin so."""
        with _plainly(self.path):
            rows = self._database.execute(
                "SELECT value FROM meta WHERE substr(name, 1, ?) = ?", (len(prefix), prefix)
            )
            return [str(value) for (value,) in rows]

    def merge(self, others: Iterable[Path]) -> int:
        """Take in the answers of other ledgers, such as those of shards, and return how many were new.

        Raises:
            IntegrityError: one of them is no ledger.
        """
        before = sum(self.counts().values())
        for other in others:
            with contextlib.closing(Ledger(other)) as source, _plainly(source.path):
                self._database.execute("ATTACH ? AS other", (str(source.path),))
                try:
                    with self._transaction():
                        self._database.execute(TAKE_ANSWERS, [status.value for status in sorted(FINAL)])
                        self._database.execute("INSERT OR IGNORE INTO spent SELECT * FROM other.spent")
                finally:
                    self._database.execute("DETACH other")
        return sum(self.counts().values()) - before

    def _require_ledger(self) -> None:
        """Refuse somebody else's database, and a ledger of another version, before anything is written there.

        Raises:
            IntegrityError: it is one.
        """
        if not self.path.is_file() or not self.path.stat().st_size:
            return
        with self.path.open("rb") as stream:  # SQLite takes a short file for an empty one, and writes over it
            if stream.read(len(MAGIC)) != MAGIC:
                raise IntegrityError(
                    f"{self.path} is no ledger, or damaged; name another file, or restore a copy"
                )
        with contextlib.closing(sqlite3.connect(self.path)) as found:
            tables = {
                name for (name,) in found.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            }
            said = "SELECT value FROM meta WHERE name = 'schema_version'"
            row = found.execute(said).fetchone() if "meta" in tables else None
        if row is None and not tables <= TABLES:  # some of ours alone: killed while it was made
            raise IntegrityError(
                f"{self.path} is a database of something else, and no ledger; name another file"
            )
        if row is not None and row[0] != SCHEMA_VERSION:
            raise IntegrityError(
                f"{self.path} is a ledger of version {row[0]}, and this kalign writes {SCHEMA_VERSION}; go "
                "on with the kalign that made it, or name a new file"
            )

    def remember(self, name: str, value: str) -> None:
        """Keep one fact beside the answers, in place of what it was before."""
        with _plainly(self.path):
            self._database.execute(KEEP_FACT, (name, value))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # a full disk rolls back by itself
                self._database.execute("ROLLBACK")
            raise


@contextlib.contextmanager
def _plainly(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as wrong:
        files.raise_if_full(wrong, path)
        raise ResourceError(f"{path} cannot be written: {wrong.strerror}; name another folder") from wrong
    except sqlite3.OperationalError as wrong:
        if "full" in str(wrong) or "disk I/O" in str(wrong):
            raise ResourceError(
                f"no space left to write {path}; free some, and run the same command again: every answer "
                "before this one is kept"
            ) from wrong
        raise ResourceError(f"{path} cannot be used: {wrong}; name another file") from wrong
    except sqlite3.DatabaseError as wrong:
        raise IntegrityError(
            f"{path} is no ledger, or damaged: {wrong}; name another file, or restore a copy"
        ) from wrong


def written_answer(answer: Answer) -> tuple[Any, ...]:
    """An answer as a row of the ledger; its request is not in it, but for the key."""
    request = answer.request
    return (
        answer.key,
        request.about,
        request.provider.name,
        request.provider.model,
        answer.status.value,
        answer.text,
        answer.reason,
        answer.model,
        answer.finish,
        answer.usage.tokens_in,
        answer.usage.tokens_out,
        answer.cost,
        answer.attempts,
        answer.seconds,
    )


def read_answer(row: Sequence[Any], request: Request) -> Answer:
    """The answer to a request that a row of the ledger holds."""
    key, _, _, _, status, text, reason, model, finish, tokens_in, tokens_out, cost, attempts, seconds = row
    ok = status == Status.OK.value
    return Answer(
        request=request,
        key=key,
        status=Status(status),
        text=text,
        parsed=parsed(text) if ok and request.schema is not None else None,
        reason=reason,
        model=model,
        finish=finish,
        usage=Usage(tokens_in=tokens_in, tokens_out=tokens_out),
        cost=cost,
        attempts=attempts,
        seconds=seconds,
        replayed=True,
    )
