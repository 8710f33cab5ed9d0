"""The loop of a sweep, on trainings that follow a script; and one that is killed, with real ones."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from kalign import locks, runs
from kalign.errors import DataError, IntegrityError, Interrupted
from kalign.runs import Run
from kalign.sweeps import control, plan, processes, report
from tests.conftest import Result

WORDS = ["recipe=tiny", "search=random", "adapter.r=int(1,64)"]


class Scripted:
    """A training that leaves what a real one leaves, at once: its accuracy falls with its rank."""

    handle = ""

    def __init__(self, run: Run, rank: int, ends: int | None, inputs: str) -> None:
        self.ends = ends
        self.stopped = False
        value = 1 - rank / 100
        run.path.mkdir(parents=True, exist_ok=True)
        rows = [{"step": step, "eval_rewards/accuracies": value * step / 4} for step in (2, 4)]
        run.history.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        run.manifest.write_text(json.dumps({"inputs": {"data": inputs}}), encoding="utf-8")
        found = {"reward_accuracy": {"after": {"value": value, "low": value - 0.1, "high": value + 0.1}}}
        if not ends:
            run.result.write_text(json.dumps({"held_out": found}), encoding="utf-8")

    def code(self) -> int | None:
        code = 75 if self.stopped else self.ends
        self.ends = self.ends or 0  # None is over when it is asked once more
        return code

    def stop(self) -> None:
        self.stopped = True


class Script:
    """Says how each training ends; None: well, but not at once, so that it can be given up before."""

    at_once = 1

    def __init__(self, ends: Callable[[int], int | None], inputs: str = "same") -> None:
        self.ends = ends
        self.inputs = inputs
        self.started: list[str] = []

    def start(self, words: Sequence[str], run: Run, log: Path, handle: str = "") -> Scripted:
        self.started.append(run.path.name)
        log.write_text("kalign: the loss is nan after step 3\n", encoding="utf-8")
        return Scripted(
            run, int(words[-1].removeprefix("adapter.r=")), self.ends(len(self.started)), self.inputs
        )

    def stopped(self) -> bool:
        return False


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "PAUSE_SECONDS", 0)


def swept(script: Script, *more: str) -> dict[str, Any]:
    made = plan.made([*WORDS, *more])
    search = control.Sweep(made, script, Console(file=io.StringIO())).run()
    return report.document(made, search)


def test_the_best_trial_is_the_one_with_the_best_result_and_says_its_interval() -> None:
    found = swept(Script(lambda number: 0), "trials=4")
    values = [trial["result"]["value"] for trial in found["trials"]]
    assert len(values) == 4
    assert found["trials"][found["best"] - 1]["result"]["value"] == max(values)
    out = io.StringIO()
    report.say(Console(file=out, width=200), found)
    assert f"{max(values):.3f} [{max(values) - 0.1:.3f}, {max(values) + 0.1:.3f}]" in out.getvalue()


def test_a_trial_that_falls_behind_is_given_up_and_its_last_value_shown() -> None:
    found = swept(Script(lambda number: 0 if number <= 5 else None), "trials=20", "pruning=median")
    given_up = [trial for trial in found["trials"] if trial["state"] == "pruned"]
    first = sorted(trial["values"]["adapter.r"] for trial in found["trials"][:5])
    assert given_up
    assert found["trials"][:5] == [trial for trial in found["trials"][:5] if trial["state"] == "complete"]
    assert all(trial["values"]["adapter.r"] > first[2] for trial in given_up if trial["trial"] == 6)
    assert all(
        trial["last_seen"] == pytest.approx(1 - trial["values"]["adapter.r"] / 100) for trial in given_up
    )
    assert found["trials"][found["best"] - 1]["state"] == "complete"


def test_numbers_that_overflow_are_a_result_and_broken_data_end_the_sweep() -> None:
    found = swept(Script(lambda number: 6 if number == 2 else 0), "trials=3")
    assert [trial["state"] for trial in found["trials"]] == ["complete", "fail", "complete"]
    assert found["trials"][1]["reason"] == "the loss is nan after step 3"
    with pytest.raises(DataError, match="trial 4 ended with code 3"):
        swept(Script(lambda number: 3), "trials=5")


def test_a_sweep_that_was_stopped_makes_the_trials_of_one_that_was_not() -> None:
    """An interrupted trial is taken up again, none is drawn twice, whatever the journal's last line is."""
    broken = Script(lambda number: 75 if number == 2 else 0)
    with pytest.raises(Interrupted):
        swept(broken, "trials=5", "search=tpe")
    journal = plan.made([*WORDS, "search=tpe"]).folder / "journal.jsonl"
    with journal.open("ab") as torn:
        torn.write(b'{"op_code": 8, "worker')
    journal.with_name("journal.jsonl.lock").touch()
    rest = Script(lambda number: 0)
    found = swept(rest, "trials=5", "search=tpe")
    assert broken.started[-1] == rest.started[0]
    assert len(rest.started) == 4
    Path("runs").rename("interrupted")
    whole = swept(Script(lambda number: 0), "trials=5", "search=tpe")
    assert [trial["words"] for trial in whole["trials"]] == [trial["words"] for trial in found["trials"]]


def test_trials_on_other_data_are_not_compared() -> None:
    swept(Script(lambda number: 0), "trials=2")
    with pytest.raises(IntegrityError, match="data was same, is changed"):
        swept(Script(lambda number: 0, inputs="changed"), "trials=3")


@pytest.mark.slow
def test_a_sweep_killed_with_9_loses_no_trial_and_repeats_none(
    kalign_here: Callable[..., Result], short: list[str]
) -> None:
    """Its training outlives it; the same command waits for that one, and takes its result."""
    kept = [word for word in short if not word.startswith(("trainer.eval_steps", "trainer.save_steps"))]
    bare = ["evaluation.generations=0", "trainer.eval_steps=4", "trainer.save_steps=4"]
    words = [*kept, *bare, "adapter.r=choice(2,4)", "search=grid"]
    first = subprocess.Popen([sys.executable, "-m", "kalign", "sweep", *words], stderr=subprocess.DEVNULL)
    while not list(Path("runs").glob("tiny-*/manifest.json")):
        assert first.poll() is None
        time.sleep(0.1)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    again = kalign_here("sweep", *words, "--json")
    assert again.returncode == 0, again.stderr[-2000:]
    found = json.loads(again.stdout)
    assert [trial["values"]["adapter.r"] for trial in found["trials"]] == ["2", "4"]
    assert [trial["state"] for trial in found["trials"]] == ["complete"] * 2
    assert len(list(Path("runs").glob("tiny-*/result.json"))) == 2
    log = next(Path("runs").glob("sweeps/*/trials/0001.log")).read_text(encoding="utf-8")
    assert log.count("is finished; nothing was changed") == 1  # what the second sweep was told


def test_a_training_notes_its_exit_code_which_a_launcher_in_between_would_hide(
    kalign_here: Callable[..., Result],
) -> None:
    outcome = Path("0001.code").absolute()
    assert kalign_here("train", "recipe=tiny", "loss.beta=-1", KALIGN_OUTCOME=str(outcome)).returncode == 2
    assert processes.noted(outcome, 1) == 2
    assert processes.noted(Path("none.code"), 1) == 1


def test_a_run_that_a_process_trains_is_waited_for() -> None:
    run = Run(Path("runs/some"))
    assert not locks.is_held(run.lock)
    with runs.locked(run):
        assert locks.is_held(run.lock)
    assert not locks.is_held(run.lock)
