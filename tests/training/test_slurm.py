"""Trainings on a real Slurm of one node, which these tests start themselves: as root, where slurmctld is
installed."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.conftest import ROOT, history, only_run

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("slurmctld") is None or shutil.which("munged") is None,
        reason="Slurm is not installed (apt-get install slurm-wlm munge)",
    ),
    pytest.mark.skipif(os.geteuid() != 0, reason="Slurm is started as root, which this is not"),
]

CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={munge}.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
KillWait=5
ReturnToService=2
SchedulerParameters=batch_sched_delay=1,sched_interval=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One node with two tasks at a time, on ports and a socket of its own: another Slurm may run here."""
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    host, cores = socket.gethostname(), max(2, os.cpu_count() or 2)
    config = folder / "slurm.conf"
    munge = Path(f"/run/munge/kalign-{os.getpid()}")
    config.write_text(
        CONFIG.format(host=host, folder=folder, cores=cores, ports=free_ports(), munge=munge),
        encoding="utf-8",
    )
    munge.parent.mkdir(exist_ok=True)
    shutil.chown(munge.parent, "munge", "munge")
    own = [f"--{name}-file={munge}.{name}" for name in ("pid", "log", "seed")]
    started = [
        ["runuser", "-u", "munge", "--", "munged", "--foreground", f"--socket={munge}.socket", *own],
    ]
    started += [["slurmctld", "-D", "-f", str(config)], ["slurmd", "-D", "-f", str(config), "-N", host]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(config))
        running = []
        for command in started:
            with (folder / f"{Path(command[0]).name}.out").open("w") as out:
                running.append(subprocess.Popen(command, stdout=out, stderr=out))
            time.sleep(1)
        try:
            wait_until(lambda: "idle" in slurm("sinfo", "-h", "-o", "%T"))
            yield
        finally:
            for process in reversed(running):
                process.terminate()
                process.wait(20)
            for left in munge.parent.glob(f"{munge.name}.*"):
                left.unlink()


def free_ports() -> list[int]:
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in (one, other)]


def slurm(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def wait_until(holds: Callable[[], object], seconds: int = 300) -> None:
    """Ask twice a second; long, because a busy machine is slow, and a wait that ends early costs nothing."""
    for _ in range(2 * seconds):
        if holds():
            return
        time.sleep(0.5)
    queue = slurm("squeue", "--noheader")
    said = "\n".join(path.read_text(errors="replace")[-1500:] for path in Path().glob("kalign-*.out"))
    raise AssertionError(f"not after {seconds} s; {queue}\n{said}")


def submit(words: list[str], *options: str, module: str = "kalign") -> str:
    """Queue the shipped script and return the job's number."""
    environment = {"KALIGN": f"{sys.executable} -m {module}", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["sbatch", "--parsable", *options, str(ROOT / "launch/slurm/train.sbatch"), *words],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def start_soon(job: str) -> None:
    """Slurm holds a job that was queued again for two minutes; tests wait three seconds, because a job that
    starts in the second in which it was revoked is refused by its node."""
    slurm("scontrol", "update", f"JobId={job}", "StartTime=now+3")


def state(job: str) -> str:
    return slurm("squeue", "-h", "-j", job, "-o", "%T")


def learned(folder: str) -> dict[str, object]:
    return dict(load_file(only_run(Path(folder)) / "adapter/adapter_model.safetensors"))


@pytest.mark.usefixtures("cluster")
def test_a_warned_job_saves_queues_itself_again_and_ends_with_the_same_weights(short: list[str]) -> None:
    words = [*short, "trainer.max_steps=12", "trainer.save_steps=12", "trainer.eval_steps=12"]
    whole = submit([*words, "runs_dir=whole"], "--ntasks=2")
    wait_until(lambda: list(Path("whole").glob("*/result.json")) and not state(whole))
    manifest = next(Path("whole").glob("*/checkpoints/*/manifest.json"))
    assert json.loads(manifest.read_text(encoding="utf-8"))["world_size"] == 2

    warned = submit([*words, "runs_dir=warned"], "--ntasks=2", module="tests.training.held")
    wait_until(lambda: Path("held-0").exists() and Path("held-1").exists())
    subprocess.run(["scancel", "--batch", "--signal=USR1", warned], check=True)
    said = Path(f"kalign-{warned}.out")
    wait_until(lambda: "queues itself again" in said.read_text(encoding="utf-8", errors="replace"))
    wait_until(lambda: state(warned) == "PENDING")
    assert not list(Path("warned").glob("*/result.json"))
    start_soon(warned)
    wait_until(lambda: list(Path("warned").glob("*/result.json")) and not state(warned), 600)
    same, again = learned("whole"), learned("warned")
    assert same.keys() == again.keys()
    assert all(bool((same[name] == again[name]).all()) for name in same)  # type: ignore[attr-defined]
    losses = [
        [row["loss"] for row in history(only_run(Path(at))) if "loss" in row] for at in ("whole", "warned")
    ]
    assert losses[0] == losses[1]


@pytest.mark.usefixtures("cluster")
def test_a_cancelled_job_is_over_and_its_run_can_go_on(short: list[str]) -> None:
    words = [*short, "trainer.max_steps=60", "trainer.save_steps=2", "runs_dir=cancelled"]
    job = submit(words, "--ntasks=2")
    wait_until(lambda: list(Path("cancelled").glob("*/checkpoints/*/manifest.json")))
    subprocess.run(["scancel", job], check=True)
    wait_until(lambda: not state(job))
    assert not list(Path("cancelled").glob("*/result.json"))
    assert list(Path("cancelled").glob("*/checkpoints/*/manifest.json"))
    assert "queues itself again" not in Path(f"kalign-{job}.out").read_text(
        encoding="utf-8", errors="replace"
    )


@pytest.mark.usefixtures("cluster")
def test_a_sweep_of_two_trials_trains_each_as_a_job_of_two_ranks(
    short: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    launcher = ["hydra/launcher=submitit_slurm", "hydra.launcher.tasks_per_node=2"]
    words = [*short, "adapter.r=2,4", "trainer.max_steps=2", "evaluation.generations=0", "runs_dir=swept"]
    swept = subprocess.run(
        [sys.executable, "-m", "kalign", "train", "-m", *words, *launcher], capture_output=True, text=True
    )
    said = "\n".join(path.read_text() for path in Path("swept/sweeps").rglob("*.log"))
    assert swept.returncode == 0, swept.stderr[-2000:] + said[-3000:]
    found = sorted(Path("swept").glob("tiny-*/result.json"))
    assert len(found) == 2
    ranks = [json.loads(path.read_text(encoding="utf-8"))["pace"]["ranks"] for path in found]
    assert ranks == [2, 2]
    manifests = [json.loads((path.parent / "manifest.json").read_text(encoding="utf-8")) for path in found]
    assert sorted(manifest["recipe"]["adapter"]["r"] for manifest in manifests) == [2, 4]


@pytest.mark.usefixtures("cluster")
def test_a_search_goes_on_when_its_controller_is_killed_and_finds_its_jobs_again(
    short: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    launcher = ["hydra/launcher=submitit_slurm", "hydra.launcher.tasks_per_node=2"]
    words = [*short, "evaluation.generations=0", "runs_dir=searched", "adapter.r=choice(2,4)", "search=grid"]
    command = [sys.executable, "-m", "kalign", "sweep", *words, *launcher, "--json"]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    wait_until(lambda: list(Path("searched").glob("tiny-*/manifest.json")))
    first.kill()
    first.wait()
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr[-3000:]
    trials = json.loads(again.stdout)["trials"]
    assert [trial["state"] for trial in trials] == ["complete", "complete"]
    jobs = list(Path("searched").glob("sweeps/*/trials/jobs/*_submitted.pkl"))
    assert len(jobs) == 2  # no trial was queued twice


@pytest.mark.usefixtures("cluster")
def test_a_trial_that_is_warned_queues_itself_again_and_ends(
    short: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    launcher = ["hydra/launcher=submitit_slurm", "hydra.launcher.tasks_per_node=2"]
    words = [
        *short,
        "trainer.max_steps=60",
        "trainer.save_steps=2",
        "evaluation.generations=0",
        "runs_dir=warned",
    ]
    command = [sys.executable, "-m", "kalign", "train", "-m", *words, *launcher]
    waiting = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: list(Path("warned").glob("*/checkpoints/*/manifest.json")))
    job = slurm("squeue", "-h", "-o", "%A").split()[0]
    subprocess.run(["scancel", "--signal=USR1", job], check=True)
    said = next(Path("warned/sweeps").rglob(f"{job}_0_log.out"))
    wait_until(lambda: "queues itself again" in said.read_text(encoding="utf-8", errors="replace"))
    wait_until(lambda: state(job) == "PENDING")
    assert not list(Path("warned").glob("*/result.json"))
    start_soon(job)
    _, errors = waiting.communicate(timeout=600)
    assert waiting.returncode == 0, errors[-2000:]
    assert f"job {job} ended with code 0" in errors
    assert len(list(Path("warned").glob("*/result.json"))) == 1
