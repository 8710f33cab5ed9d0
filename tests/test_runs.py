import os
import subprocess
import sys
from pathlib import Path

import pytest

from kalign import runs
from kalign.errors import ConfigError, IntegrityError, ResourceError
from kalign.runs import Run


def test_a_run_is_named_by_what_determines_it(tmp_path: Path) -> None:
    first = runs.named(tmp_path, "tiny", {"a": 1, "b": [1, 2]})
    assert first.path.name.startswith("tiny-")
    assert first == runs.named(tmp_path, "tiny", {"b": [1, 2], "a": 1})
    assert first != runs.named(tmp_path, "tiny", {"a": 1, "b": [2, 1]})


def test_a_live_lock_keeps_others_out_and_goes_with_its_process(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    code = (
        "import sys, pathlib; from kalign import runs\n"
        "with runs.locked(runs.Run(pathlib.Path(sys.argv[1]))):\n"
        "    print('locked', flush=True); sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(run.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(ConfigError, match=f"locked by process {holder.pid} on "), runs.locked(run):
            pass
        holder.kill()
        holder.wait()
        with runs.locked(run):
            pass
        with runs.locked(run):  # those that held it before have left nothing
            assert run.lock.read_text(encoding="utf-8").startswith(f"process {os.getpid()} on ")


def test_inputs_that_changed_are_named() -> None:
    run = Run(Path("runs/x"))
    runs.require_same({"data": {"a": 1}}, {"data": {"a": 1}}, run)
    with pytest.raises(IntegrityError, match=r"data was \{\"a\":1\}, is \{\"a\":2\}"):
        runs.require_same({"data": {"a": 1}, "base": 1}, {"data": {"a": 2}, "base": 1}, run)


def test_a_manifest_or_a_result_that_was_damaged_is_named(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for path, read in ((run.manifest, run.read_manifest), (run.result, run.read_result)):
        path.write_text('{"steps": 4}', encoding="utf-8")
        assert read() == {"steps": 4}
        path.write_text('{"steps": ', encoding="utf-8")
        with pytest.raises(IntegrityError, match=f"{path.name} is damaged .*train it again"):
            read()


def test_too_little_space_is_refused_before_training(tmp_path: Path) -> None:
    runs.require_space(tmp_path, 1)
    with pytest.raises(ResourceError, match="GiB free"):
        runs.require_space(tmp_path, 2**60)


def test_versions_and_commit_are_noted() -> None:
    assert {"kalign", "python", "torch", "trl", "transformers", "peft"} <= set(runs.versions())
    commit = runs.git_commit()
    assert commit is None or len(commit.removesuffix("+changes")) == 40
