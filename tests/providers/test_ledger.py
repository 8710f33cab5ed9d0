"""The ledger: private, one writer at a time, whole after every kind of end, quick to go on from."""

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from kalign.errors import ConfigError, IntegrityError, ResourceError
from kalign.providers import Answer, Engine, Ledger, Provider, Status
from kalign.providers.disk import require_local
from kalign.providers.ledger import LAYOUT
from tests.providers.conftest import question, questions

PROVIDER = Provider(name="p", model="m", base_url="http://x.example/v1")


def filled(path: Path, numbers: range, *, status: Status = Status.OK, text: str = "네") -> None:
    with Ledger(path) as ledger:
        ledger.keep(
            [
                Answer(request=one, key=one.key(), status=status, text=text, cost=0.5)
                for one in (question(PROVIDER, number) for number in numbers)
            ]
        )


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "private" / "ledger.sqlite"
    with Ledger(path) as ledger:
        one = question(PROVIDER)
        ledger.keep([Answer(request=one, key=one.key(), status=Status.OK, text="네")])
        present = sorted(path.parent.iterdir())
        assert {found.name for found in present} >= {
            "ledger.sqlite",
            "ledger.sqlite-wal",
            "ledger.sqlite-shm",
        }
        assert {stat.S_IMODE(found.stat().st_mode) for found in present} == {0o600}
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_second_writer_is_told_who_writes(tmp_path: Path) -> None:
    said = f"is written by process {os.getpid()} on .* right now"
    with Ledger(tmp_path / "ledger.sqlite"), pytest.raises(ConfigError, match=said):
        Ledger(tmp_path / "ledger.sqlite")
    Ledger(tmp_path / "ledger.sqlite").close()


def test_another_file_or_another_version_is_no_ledger(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, but long enough to be looked at\n" * 20)
    with pytest.raises(IntegrityError, match="no ledger, or damaged"):
        Ledger(tmp_path / "notes.txt")
    Ledger(tmp_path / "ledger.sqlite").close()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as database:
        database.execute("UPDATE meta SET value = '99' WHERE name = 'schema_version'")
    database.close()
    with pytest.raises(IntegrityError, match="version 99"):
        Ledger(tmp_path / "ledger.sqlite")


def test_a_database_of_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE note (text)")
    database.close()
    path.chmod(0o644)
    before = path.read_bytes()
    with pytest.raises(IntegrityError, match="something else, and no ledger"):
        Ledger(path)
    assert path.read_bytes() == before and stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_short_file_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    with pytest.raises(IntegrityError, match="no ledger"):
        Ledger(tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "x"


def test_a_ledger_that_was_killed_while_it_was_made_is_one(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with sqlite3.connect(path) as database:
        database.execute(LAYOUT.split(";")[0])
    database.close()
    filled(path, range(2))
    with Ledger(path) as ledger:
        assert sum(ledger.counts().values()) == 2


@pytest.mark.parametrize(("kind", "refused"), [("nfs4", True), ("lustre", True), ("ext4", False)])
def test_24_a_network_file_system_is_refused(tmp_path: Path, kind: str, refused: bool) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/x /net\\040work {kind} rw 0 0\n", encoding="utf-8")
    if refused:
        with pytest.raises(ResourceError, match=f"network file system \\({kind}\\)"):
            require_local(Path("/net work/ledger.sqlite"), mounts)
    else:
        require_local(Path("/net work/ledger.sqlite"), mounts)
    require_local(Path("/elsewhere/ledger.sqlite"), mounts)


FILL = """
import resource, signal, sys
from pathlib import Path
from kalign.errors import KalignError
from kalign.providers import Ledger
from tests.providers.test_ledger import filled
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path(sys.argv[1])
filled(path, range(10))
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
try:
    for start in range(10, 10_000, 10):
        filled(path, range(start, start + 10), text="x" * 5000)
        print(start + 10, flush=True)
except KalignError as wrong:
    print(wrong, file=sys.stderr)
    sys.exit(wrong.exit_code)
"""


def test_24_a_full_disk_is_said_and_leaves_the_ledger_whole(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    done = subprocess.run([sys.executable, "-c", FILL, path], capture_output=True, text=True, timeout=60)
    assert done.returncode == ResourceError.exit_code, done.stderr
    assert "no space left to write" in done.stderr
    kept = int(done.stdout.split()[-1])
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    with Ledger(path) as ledger:
        assert sum(ledger.counts().values()) >= kept >= 20
        assert len(ledger.find({one.key(): one for one in questions(PROVIDER, kept)})) == kept


def test_failures_are_not_kept_as_answers(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    filled(path, range(5), status=Status.FAILED)
    wanted = {one.key(): one for one in questions(PROVIDER, 5)}
    with Ledger(path) as ledger:
        assert ledger.find(wanted) == {}
        assert len(ledger.find(wanted, unfinished=True)) == 5
    filled(path, range(5))
    with Ledger(path) as ledger:
        assert ledger.counts() == {("p", "m", "ok"): 5}
        assert ledger.spent() == 5 * 0.5 + 5 * 0.5  # the failures were paid too


def test_the_ledgers_of_shards_make_one(tmp_path: Path) -> None:
    every = questions(PROVIDER, 300)
    for index in range(3):
        shard = every[index::3]
        with Ledger(tmp_path / f"{index}.sqlite") as ledger:
            ledger.keep(
                [Answer(request=one, key=one.key(), status=Status.OK, text="네", cost=0.25) for one in shard],
                [(shard[0], 1.0)],
            )
    with Ledger(tmp_path / "all.sqlite") as whole:
        paths = [tmp_path / f"{index}.sqlite" for index in range(3)]
        assert whole.merge(paths) == 300
        assert whole.merge(paths) == 0
        assert len(whole.find({one.key(): one for one in every})) == 300
        assert whole.spent() == pytest.approx(300 * 0.25 + 3 * 1.0)


def test_a_merge_prefers_an_answer_to_a_failure(tmp_path: Path) -> None:
    filled(tmp_path / "failed.sqlite", range(3), status=Status.FAILED)
    filled(tmp_path / "good.sqlite", range(3))
    for order in (["failed", "good"], ["good", "failed"]):
        with Ledger(tmp_path / f"{order[0]}-first.sqlite") as whole:
            whole.merge(tmp_path / f"{name}.sqlite" for name in order)
            assert whole.counts() == {("p", "m", "ok"): 3}


def test_10_000_answers_are_replayed_and_nothing_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    filled(path, range(10_000), text="가" * 300)
    with Engine(path, progress=False) as engine:
        answers = engine.answers(question(PROVIDER, number) for number in range(10_000))
        assert sum(answer.ok for answer in answers) == 10_000
