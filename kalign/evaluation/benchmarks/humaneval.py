"""HumanEval+: whether programs that a model writes pass their tests, and those that EvalPlus adds.

evalplus scores; every program runs in a process of its own that confined.py keeps from network and files.

Source:
    Liu et al. 2023, EvalPlus, https://arxiv.org/abs/2305.01210; Chen et al. 2021, HumanEval,
    https://arxiv.org/abs/2107.03374.
"""

import contextlib
import gzip
import importlib.metadata
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import warnings
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console
from tqdm import tqdm

from kalign import yaml_files
from kalign.errors import ConfigError, DataError, ResourceError
from kalign.evaluation import scoreboard
from kalign.evaluation.benchmarks import asked, confined
from kalign.evaluation.benchmarks.asked import Wanted
from kalign.evaluation.questions import Question

LICENCE = "Apache-2.0 (EvalPlus), MIT (HumanEval)"
FIELDS = ("task_id", "prompt", "entry_point", "canonical_solution", "base_input", "plus_input", "atol")
BLOCK = re.compile(r"```[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)
LONGEST = 300  # seconds of one program with all its tests
WORDS = Path(__file__).with_suffix(".yaml")
SANDBOXES = ("strict", "limits")
PASS, DIED = "pass", "died"


def evaluate(wanted: Wanted, console: Console, *, given: Mapping[str, str | None]) -> Path:
    """Have every program written, run it, and return the folder.

    Args:
        given: `sandbox`: strict (refused where a process cannot be confined) or limits.

    Raises:
        KalignError: of the category that says who can mend it.
    """
    require()
    sandbox = str(given["sandbox"])
    if sandbox not in SANDBOXES:
        raise ConfigError(f"sandbox={sandbox} is unknown; use {' or '.join(SANDBOXES)}")
    problems = read(wanted.data)
    found = [_question(one) for one in problems]
    with asked.place(wanted, found, console, licence=LICENCE) as place:
        rows = {}
        for name, asker in place.each(found):
            said = [one.text for one in place.collect(name, found, asker)]
            programs = [program(one, text) for one, text in zip(problems, said, strict=True)]
            ended = run(problems, programs, strict=sandbox == "strict")
            rows[name] = [
                {"id": one["task_id"], "program": made, **how}
                for one, made, how in zip(problems, programs, ended, strict=True)
            ]
        document = {
            "licence": LICENCE,
            "num_fewshot": 0,
            "template": "kalign's own (humaneval.yaml)",
            "sandbox": sandbox,
            "evalplus": importlib.metadata.version("evalplus"),
            "tasks": _rows(rows.get("base"), rows["model"], wanted.margin),
            "notes": _notes(rows["model"], sandbox, wanted.margin),
        }
        place.finish(document, rows, console)
    return place.folder


def require() -> None:
    """Refuse what cannot be done without evalplus.

    Raises:
        ConfigError: it is not installed.
    """
    if importlib.util.find_spec("evalplus") is None:
        raise ConfigError(
            "suite=humaneval is scored by evalplus; pip install --no-deps evalplus==0.3.1 (its scores need "
            "nothing else that kalign lacks, and its other dependencies do not fit kalign's)"
        )


def read(path: Path) -> list[dict[str, Any]]:
    """The problems of EvalPlus' file, HumanEvalPlus.jsonl or .jsonl.gz.

    Raises:
        DataError: a line is none of them.
    """
    problems = []
    try:
        for number, line in enumerate(_text(path).split("\n"), start=1):
            problem = json.loads(line)
            if missing := [field for field in FIELDS if field not in problem]:
                raise DataError(f"{path}:{number} is no problem of HumanEval+; it has no {missing[0]}")
            problems.append({field: problem[field] for field in FIELDS})
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError, OSError, EOFError, zlib.error) as wrong:
        raise DataError(f"{path} is no file of HumanEval+ ({wrong}); give HumanEvalPlus.jsonl") from wrong
    return problems


def _text(path: Path) -> str:
    raw = path.read_bytes()
    return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8").strip()


def program(problem: Mapping[str, Any], said: str) -> str:
    """The program in an answer: the block of code that defines the function, after what stands before it in
    the problem (its imports and helpers); else the answer as the end of the problem's own text."""
    defined = re.compile(rf"^\s*(?:async )?def {re.escape(problem['entry_point'])}\b", re.MULTILINE)
    before = problem["prompt"][: match.start()] if (match := _last(defined, problem["prompt"])) else ""
    for block in [*BLOCK.findall(said), said]:
        if defined.search(block) and _compiles(block):
            return f"{before.rstrip()}\n\n{block}" if before.strip() else str(block)
    return str(problem["prompt"]) + said


def run(
    problems: Sequence[Mapping[str, Any]], programs: Sequence[str], *, strict: bool
) -> list[dict[str, str]]:
    """How each program ends on the base tests and on the further ones, in order.

    Raises:
        ResourceError: `strict`, and this machine cannot confine a process.
    """
    workers = max(1, (os.cpu_count() or 2) // 2)
    with ThreadPoolExecutor(workers) as pool:
        ended = pool.map(lambda pair: _ended(*pair, strict=strict), zip(problems, programs, strict=True))
        return list(tqdm(ended, total=len(programs), desc="programs", leave=False))


def _ended(problem: Mapping[str, Any], made: str, *, strict: bool) -> dict[str, str]:
    with tempfile.TemporaryDirectory(prefix="kalign-") as folder:
        job = {"problem": problem, "solution": made, "folder": folder, "strict": strict}
        command = [sys.executable, "-I", confined.__file__]
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                answer, _ = process.communicate(json.dumps(job), timeout=LONGEST)
            except subprocess.TimeoutExpired:
                return {"base": "timeout", "plus": "timeout"}
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # and whatever the program left behind
    if process.returncode == confined.UNCONFINED:
        why = json.loads(answer)["unconfined"]
        raise ResourceError(
            f"programs of a model cannot be confined on this machine ({why}); run kalign in a container "
            "without network or valuable files, and give sandbox=limits"
        )
    try:
        return dict(json.loads(answer))
    except ValueError:
        return {"base": DIED, "plus": DIED}  # it took its process with it


def _rows(
    before: Sequence[Mapping[str, Any]] | None, after: Sequence[Mapping[str, Any]], margin: float
) -> list[scoreboard.Row]:
    tests = {"HumanEval": ("base",), "HumanEval+": ("base", "plus")}
    made = []
    for task, parts in tests.items():
        old, new = (
            [float(all(row[part] == PASS for part in parts)) for row in some] if some is not None else None
            for some in (before, after)
        )
        assert new is not None
        made.append(scoreboard.share(f"{task}, pass@1", old, new, margin=margin))
    return made


def _notes(rows: Sequence[Mapping[str, Any]], sandbox: str, margin: float) -> list[str]:
    late = sum("timeout" in (row["base"], row["plus"]) for row in rows)
    died = sum(row["base"] == DIED for row in rows)
    kept = (
        "no network, files of its own alone"
        if sandbox == "strict"
        else "limits alone: network and files open"
    )
    return [
        f"kept: a loss of {margin * 100:g} points or more is ruled out. Scored by evalplus "
        f"{importlib.metadata.version('evalplus')}; one greedy program a problem, run with {kept}",
        f"model: {late} programs ran out of time, {died} ended their process",
    ]


def _question(problem: Mapping[str, Any]) -> Question:
    return Question(
        id=str(problem["task_id"]),
        set="humaneval",
        kind="benign",
        category="-",
        family=str(problem["task_id"]),
        text=f"{_words()['instruction']}\n\n```python\n{problem['prompt'].strip()}\n```",
    )


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    """The last match: a problem's helpers stand before its function."""
    found = None
    for found in pattern.finditer(text):  # noqa: B007
        pass
    return found


def _compiles(code: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes that a model wrote
        try:
            compile(code, "<answer>", "exec")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
    return True


@cache
def _words() -> dict[str, Any]:
    return dict(yaml_files.read(WORDS))
