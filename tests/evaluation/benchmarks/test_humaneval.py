"""HumanEval+ on problems of our own: programs are run in a process that can reach and break nothing."""

import gzip
import importlib.util
import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kalign.errors import ResourceError
from kalign.evaluation.benchmarks import confined, humaneval
from tests.conftest import Result, write
from tests.evaluation.benchmarks.conftest import Declare
from tests.providers.server import Body, Reply, says, serving

Call = Callable[..., Result]
scored = pytest.mark.skipif(
    importlib.util.find_spec("evalplus") is None, reason="pip install --no-deps evalplus==0.3.1"
)
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux confines a process so")


def problem(name: str, body: str, base: list[Any], plus: list[Any]) -> dict[str, Any]:
    head = f'from math import floor\n\n\ndef {name}(x):\n    """Say what {name} says."""\n'
    return {
        "task_id": f"Own/{name}",
        "prompt": head,
        "entry_point": name,
        "canonical_solution": f"    return {body}\n",
        "contract": "",
        "base_input": base,
        "plus_input": plus,
        "atol": 0,
    }


DOUBLE = problem("double", "2 * x", [[1], [2]], [[0], [-7]])
SQUARE = problem("square", "x * x", [[2]], [[-3], [5]])
HALF = problem("half", "floor(x) / 2", [[2.5]], [[9.0]])
ANSWERS = {
    "double": "```python\ndef double(x):\n    return x + x\n```",
    "square": "이렇게요.\n```python\ndef square(x):\n    return x ** 2 if x > 0 else 0\n```",  # base only
    "half": "```python\ndef half(x):\n    return floor(x) / 2\n```",  # the problem's own import
}


def answering(body: Body, number: int) -> Reply:
    told = body["messages"][-1]["content"]
    [name] = [name for name in ANSWERS if f"def {name}(" in told]
    return says(ANSWERS[name] if body["model"] == "good" else "모르겠습니다.")


@scored
@linux
def test_programs_pass_the_base_tests_or_all_tests_or_none(
    declared: Declare, kalign_here: Call, tmp_path: Path
) -> None:
    write(tmp_path / "own.jsonl", [DOUBLE, SQUARE, HALF])
    with serving(answering) as server:
        done = kalign_here(
            "eval",
            "suite=humaneval",
            f"data={tmp_path / 'own.jsonl'}",
            f"model=endpoint:{declared(server, 'good')}",
            f"base=endpoint:{declared(server, 'bad')}",
            "out=out",
            "--json",
        )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [row["model"]["value"] for row in document["tasks"]] == [1, pytest.approx(2 / 3)]
    assert [row["base"]["value"] for row in document["tasks"]] == [0, 0]
    assert "no network, files of its own alone" in done.stderr
    rows = [json.loads(line) for line in Path("out/ability/model.jsonl").read_text("utf-8").splitlines()]
    assert [(row["base"], row["plus"]) for row in rows] == [
        ("pass", "pass"),
        ("pass", "fail"),
        ("pass", "pass"),
    ]


@scored
@linux
def test_a_program_reaches_no_network_and_no_file_and_stops_nobody() -> None:
    """Each does harm, if it can, and then the right thing; where the harm is prevented it fails its tests."""
    outside = Path(tempfile.mkdtemp(dir="/var/tmp"))  # not in /tmp, which a program finds empty
    secret = outside / "secret.txt"
    secret.write_text("말하지 마", encoding="utf-8")
    neighbour = Path(tempfile.mkdtemp(dir="/tmp")) / "socket"  # pytest's own paths are too long for one
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.socket(socket.AF_UNIX) as local,
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as running,
    ):
        port = listening.getsockname()[1]
        local.bind(str(neighbour))
        local.listen()
        harms = {
            "network": f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)",
            "socket": f"import socket; socket.socket(socket.AF_UNIX).connect({str(neighbour)!r})",
            "filling": "import io\n    for n in range(9): io.open(str(n), 'wb').write(bytes(4 << 20))",
            "killing": f"import posix; posix.kill({running.pid}, 9)",
            "reading": f"import io; io.open({str(secret)!r}).read()",
            "writing": f"import os; os.close(os.open({str(outside / 'new')!r}, os.O_CREAT | os.O_WRONLY))",
            "removing": f"import posix; posix.unlink({str(secret)!r})",
            "memory": "x = ' ' * (1 << 40)",
            "waiting": "while True: pass",
            "dying": "import signal; signal.raise_signal(9)",
        }
        programs = {name: f"def double(x):\n    {harm}\n    return 2 * x\n" for name, harm in harms.items()}
        programs["none"] = "def double(x):\n    return 2 * x\n"
        programs["peeking"] = "import os\ndef double(x):\n    return 2 * x if len(os.environ) < 9 else 0\n"
        ended = humaneval.run([DOUBLE] * len(programs), list(programs.values()), strict=True)
        assert running.poll() is None
        running.communicate(b"\n")
    found = {name: how["base"] for name, how in zip(programs, ended, strict=True)}
    assert {found.pop(name) for name in ("none", "peeking")} == {"pass"}
    assert set(found.values()) <= {"fail", "timeout"}, found
    assert secret.read_text(encoding="utf-8") == "말하지 마"
    assert not (outside / "new").exists()
    shutil.rmtree(outside)
    shutil.rmtree(neighbour.parent)


@scored
@linux
def test_what_a_program_starts_ends_with_it_even_where_it_left_its_session(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The processes are known by the file that they run, which is a copy of this test alone."""
    copy = tmp_path / "confined.py"
    copy.write_text(Path(confined.__file__).read_text("utf-8"), "utf-8")
    monkeypatch.setattr(confined, "__file__", str(copy))
    stay = "import posix, signal\n    if not posix.fork():\n        posix.setsid()\n        signal.pause()"
    made = f"def half(x):\n    {stay}\n    return x // 1 / 2\n"
    assert humaneval.run([HALF], [made], strict=True) == [{"base": "pass", "plus": "pass"}]
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(copy) not in listed


@scored
def test_a_machine_that_cannot_confine_is_told_so_or_runs_with_limits_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A copy of the program whose network cannot be left: an unknown flag is what the kernel refuses."""
    text = Path(confined.__file__).read_text(encoding="utf-8")
    broken = tmp_path / "confined.py"
    broken.write_text(text.replace("0x10000000, 0x40000000", "1, 1"), "utf-8")
    monkeypatch.setattr(confined, "__file__", str(broken))
    right = "def double(x):\n    return 2 * x\n"
    with pytest.raises(ResourceError, match="cannot be confined on this machine"):
        humaneval.run([DOUBLE], [right], strict=True)
    assert humaneval.run([DOUBLE], [right], strict=False) == [{"base": "pass", "plus": "pass"}]


@pytest.mark.parametrize(
    ("said", "starts", "ends"),
    [
        ("    return x + x", 'from math import floor\n\n\ndef double(x):\n    """', "return x + x"),
        ("```python\ndef double(x):\n    return 1\n```\n끝", "from math import floor\n\ndef", "return 1\n"),
        ("```\ndef other(x): pass\n```\n```py\ndef double(x): return 3\n```", "from math", "return 3\n"),
        ("def double(x):\n    return '\\d'", "from math import floor\n\ndef double", "return '\\d'"),
    ],
)
def test_the_program_in_an_answer_is_found(said: str, starts: str, ends: str) -> None:
    made = humaneval.program(DOUBLE, said)
    assert made.startswith(starts)
    assert made.endswith(ends)


def test_without_evalplus_nothing_is_asked(kalign_here: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    write(Path("own.jsonl"), [DOUBLE])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = kalign_here("eval", "suite=humaneval", "model=bundled:tiny", "data=own.jsonl")
    assert (done.returncode, "pip install --no-deps evalplus" in done.stderr) == (2, True)


def test_a_packed_file_is_read_and_another_one_refused(tmp_path: Path) -> None:
    packed = tmp_path / "own.jsonl.gz"
    packed.write_bytes(gzip.compress((json.dumps(DOUBLE) + "\n").encode()))
    assert humaneval.read(packed)[0]["entry_point"] == "double"
    write(tmp_path / "other.jsonl", [{"task_id": "x"}])
    with pytest.raises(ValueError, match="it has no prompt"):
        humaneval.read(tmp_path / "other.jsonl")
