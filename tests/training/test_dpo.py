"""Whole trainings, as a user starts them: through the command line, in processes of their own."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from kalign import files
from tests.conftest import ROOT, SHARED, Result, history, only_run, pair, write
from tests.training.looks import looks

pytestmark = pytest.mark.slow
Kalign = Callable[..., Result]


def train(kalign: Kalign, words: list[str], *more: str, **environment: str) -> Path:
    """Train and return the run's folder."""
    done = kalign("train", *words, *more, **environment)
    assert done.returncode == 0, done.stderr[-3000:]
    folder = next((word.split("=", 1)[1] for word in more if word.startswith("runs_dir=")), "runs")
    return only_run(Path(folder))


def weights(run: Path) -> dict[str, Any]:
    return dict(load_file(run / "adapter" / "adapter_model.safetensors"))


def start(words: list[str], *launcher: str) -> subprocess.Popen[str]:
    """Start a training and leave it running."""
    return subprocess.Popen(
        [*(launcher or (sys.executable,)), str(ROOT / "train.py"), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for(path: str, process: subprocess.Popen[str]) -> None:
    """Wait until a file that matches `path` appears."""
    for _ in range(1200):
        if list(Path().glob(path)):
            return
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        time.sleep(0.05)
    raise AssertionError(f"{path} did not appear")


def test_a_training_leaves_everything_that_the_run_folder_promises(kalign: Kalign, short: list[str]) -> None:
    done = kalign("train", *short)
    assert done.returncode == 0, done.stderr
    run = only_run(Path("runs"))
    first = history(run)[0]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-6)
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert result["steps"] == 4
    assert result["held_out"]["pairs"] == 4
    assert len(result["answers"]) == 1
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["inputs"]["data"]["data"]["rows"] == 40
    assert manifest["versions"]["trl"]
    assert manifest["licence"]["name"] == result["licence"]["name"] == "Apache-2.0"
    assert "Apache-2.0" in (run / "adapter" / "LICENCE.md").read_text(encoding="utf-8")
    assert result["pace"]["seconds_per_step"] > 0
    assert len(list(files.read_parquet(run / "ledger.parquet"))) == 40
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["checkpoint-3", "checkpoint-4"]
    learned = weights(run)
    assert len(learned) == 2 * 7 * 2  # A and B of seven projections in two layers
    assert all(weight.abs().sum() > 0 for name, weight in learned.items())
    assert not list(run.rglob("training_args.bin"))
    for promised in (
        "Licence of the base: Apache-2.0",
        "Pair ledger",
        "reward accuracy",
        "Answers to held-out prompts",
        str(run / "adapter"),
    ):
        assert promised in done.stdout.replace("\n", "")


def test_the_same_command_again_changes_nothing(
    kalign: Kalign, kalign_here: Kalign, short: list[str]
) -> None:
    run = train(kalign_here, short)
    before = {
        path: (path.stat().st_mtime_ns, files.sha256(path)) for path in run.rglob("*") if path.is_file()
    }
    again = kalign_here("train", *short)
    assert again.returncode == 0
    assert "is finished; nothing was changed" in again.stdout
    del before[run / "run.lock"]
    after = {path: (path.stat().st_mtime_ns, files.sha256(path)) for path in run.rglob("*") if path.is_file()}
    assert before == {path: noted for path, noted in after.items() if path in before}
    Path("torch.py").write_text("raise ImportError('a finished run needs no torch')", encoding="utf-8")
    as_json = kalign("train", *short, "--json")
    assert as_json.returncode == 0, as_json.stderr
    assert json.loads(as_json.stdout)["steps"] == 4


def test_the_same_command_on_other_data_is_refused(
    kalign_here: Kalign, short: list[str], pairs_file: Path
) -> None:
    train(kalign_here, short)
    write(pairs_file, [pair(number) for number in range(1, 41)])
    refused = kalign_here("train", *short)
    assert refused.returncode == 4
    assert "was made from other inputs: data was" in refused.stderr


def test_killed_the_same_command_ends_with_the_same_weights(kalign_here: Kalign, short: list[str]) -> None:
    words = [*short, "trainer.max_steps=8"]
    whole = train(kalign_here, words, "runs_dir=whole")
    killed = start([*words, "runs_dir=killed"])
    wait_for("killed/*/checkpoints/checkpoint-2/manifest.json", killed)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert not list(Path("killed").glob("*/result.json"))
    resumed = train(kalign_here, words, "runs_dir=killed")
    assert (resumed / "adapter/adapter_model.safetensors").read_bytes() == (
        whole / "adapter/adapter_model.safetensors"
    ).read_bytes()
    assert [log.get("loss") for log in history(resumed)] == [log.get("loss") for log in history(whole)]


def test_a_damaged_checkpoint_is_passed_over_and_said(kalign_here: Kalign, short: list[str]) -> None:
    whole = train(kalign_here, short, "runs_dir=whole")
    shutil.copytree("whole", "damaged")
    run = only_run(Path("damaged"))
    (run / "result.json").unlink()
    weights_file = run / "checkpoints/checkpoint-4/adapter_model.safetensors"
    raw = bytearray(weights_file.read_bytes())
    raw[-1] ^= 1
    weights_file.write_bytes(raw)
    done = kalign_here("train", *short, "runs_dir=damaged")
    assert done.returncode == 0, done.stderr
    assert "checkpoint-4 is passed over: adapter_model.safetensors is not what was written" in done.stdout
    assert files.sha256(run / "adapter/adapter_model.safetensors") == files.sha256(
        whole / "adapter/adapter_model.safetensors"
    )


def test_two_processes_learn_what_one_learns(kalign_here: Kalign, short: list[str]) -> None:
    words = [*short, "adapter.lora_dropout=0", "evaluation.panel_every=4", "evaluation.panel_prompts=4"]
    one = train(kalign_here, words, "runs_dir=one")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29631"]
    two = start([*words, "runs_dir=two"], *launcher)
    said, _ = two.communicate(timeout=300)
    assert two.returncode == 0, said
    run = only_run(Path("two"))
    sealed = json.loads((run / "checkpoints/checkpoint-4/manifest.json").read_text(encoding="utf-8"))
    assert sealed["world_size"] == 2
    pace = json.loads((run / "result.json").read_text(encoding="utf-8"))["pace"]
    assert (pace["ranks"], pace["distributed"]) == (2, "MULTI_CPU")
    compared = 0
    for alone, together in zip(history(one), history(run), strict=True):
        for key in (
            "loss",
            "rewards/margins",
            "grad_norm",
            "eval_loss",
            "eval_rewards/margins",
            "num_tokens",
        ):
            if key in alone:
                assert together[key] == pytest.approx(alone[key], abs=1e-5), (key, alone["step"])
                compared += 1
    assert compared == 4 * 4 + 2 * 2
    for name, weight in weights(one).items():
        assert (weights(run)[name] - weight).abs().max() < 1e-4
    assert looks(one) == looks(run)  # each process asked half of the panel, and the first one wrote it
    assert [look["step"] for look in looks(run)] == [0, 4]
    refused = kalign_here("train", *words, "runs_dir=two")
    assert refused.returncode == 0  # finished, whoever asks
    (run / "result.json").unlink()
    refused = kalign_here("train", *words, "runs_dir=two")
    assert refused.returncode == 4
    assert "was made by 2 process(es)" in refused.stderr


@pytest.mark.parametrize("adapter", ["lora", "qlora"])
def test_the_base_is_left_alone_and_the_held_out_margin_grows(
    adapter: str, kalign_here: Kalign, short: list[str], small_model: Path
) -> None:
    before = files.sha256(small_model)
    compute = ["adapter.quantization.bnb_4bit_compute_dtype=float32"] if adapter == "qlora" else []
    run = train(
        kalign_here, short, f"adapter={adapter}", "trainer.max_steps=16", "trainer.save_steps=8", *compute
    )
    assert files.sha256(small_model) == before
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert result["held_out"]["reward_margin"]["after"]["value"] > 0
    assert result["held_out"]["reward_accuracy"]["after"]["value"] > 0.5
    assert history(run)[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)


OVERFLOWS = {
    "the loss is": ["trainer.learning_rate=1e30", "trainer.warmup_steps=0", "trainer.save_steps=2"],
    "the gradients' norm is": ["loss.beta=1e38"],
}


@pytest.mark.parametrize("said", OVERFLOWS)
def test_numbers_that_overflow_stop_with_code_6_and_touch_no_checkpoint(
    said: str, kalign_here: Kalign, short: list[str]
) -> None:
    broken = kalign_here("train", *short, *OVERFLOWS[said])
    assert broken.returncode == 6, broken.stderr[-2000:]
    assert said in broken.stderr
    assert "the last checkpoint is untouched" in broken.stderr
    assert not list(Path("runs").rglob("checkpoint-*/manifest.json"))


def test_a_full_disk_stops_with_code_7_and_the_run_goes_on_afterwards(
    kalign_here: Kalign, short: list[str]
) -> None:
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "from kalign import runs; from kalign.cli import run; from kalign.training import dpo, checkpoints;"
        "seal = checkpoints.seal;\n"
        "def limited(folder, **options):\n"
        "    seal(folder, **options); resource.setrlimit(resource.RLIMIT_FSIZE, (30000, 30000))\n"
        "checkpoints.seal = limited; sys.exit(run(['train', *sys.argv[1:]]))"
    )
    full = subprocess.run([sys.executable, "-c", code, *short], capture_output=True, text=True)
    assert full.returncode == 7, full.stderr[-2000:]
    assert "no space left" in full.stderr.splitlines()[-1]
    train(kalign_here, short)


BAD_DATA: dict[str, tuple[list[dict[str, Any]] | str, int, str]] = {
    "malformed line 3": ('{"prompt": "q", "chosen": "a", "rejected": "b"}\n' * 2 + "{\n", 3, ":3: no JSON"),
    "empty file": ("", 3, "is empty"),
    "misnamed columns": ([{"question": "q", "chosen": "a", "rejected": "b"}], 3, "data.columns.prompt=NAME"),
    "identical answers": ([{"prompt": "q", "chosen": "a", "rejected": "a"}], 3, "1 identical"),
    "empty answers": ([{"prompt": "q", "chosen": "", "rejected": "a"}], 3, "1 empty_chosen"),
    "all rows too long": ([dict(pair(n), chosen="가나" * 900) for n in range(9)], 3, "raise data.max_length"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_is_refused_in_one_sentence(
    case: str, kalign_here: Kalign, short: list[str], pairs_file: Path
) -> None:
    content, code, said = BAD_DATA[case]
    if isinstance(content, str):
        pairs_file.write_text(content, encoding="utf-8")
    else:
        write(pairs_file, content)
    refused = kalign_here("train", *short)
    assert refused.returncode == code, refused.stderr[-2000:]
    assert said in refused.stderr.splitlines()[-1]
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("method", ["dpo", "sft"])
def test_rows_beyond_the_positions_of_the_model_are_refused(
    method: str, kalign_here: Kalign, short: list[str], pairs_file: Path
) -> None:
    write(pairs_file, [dict(pair(number), chosen="가나 " * 400) for number in range(9)])
    refused = kalign_here("train", *short, f"method={method}", "data.max_length=2000")
    assert refused.returncode == 3
    assert "made for 512 (max_position_embeddings" in refused.stderr
    assert "give data.max_length=512" in refused.stderr


def test_what_is_wrong_before_anything_is_loaded(
    kalign_here: Kalign, short: list[str], small_model: Path
) -> None:
    missing = kalign_here("train", *short, "data.path=none.jsonl")
    assert (missing.returncode, "none.jsonl does not exist" in missing.stderr) == (3, True)
    bf16 = kalign_here("train", *short, "trainer.bf16=true")
    assert (bf16.returncode, "needs a GPU" in bf16.stderr) == (2, True)
    unwritable = kalign_here("train", *short, "runs_dir=/proc/none")
    assert (unwritable.returncode, "set runs_dir" in unwritable.stderr) == (7, True)
    folder = Path(shutil.copytree(small_model, "no-template"))
    (folder / "chat_template.jinja").unlink()
    template = kalign_here("train", *short, f"model.repo={folder}")
    assert (template.returncode, "has no chat template" in template.stderr) == (3, True)
    target = kalign_here("train", *short, "adapter.target_modules=[c_attn]")
    assert (target.returncode, "names no layer" in target.stderr) == (2, True)


def test_a_run_that_is_being_trained_is_locked(kalign_here: Kalign, short: list[str]) -> None:
    running = start(short)
    wait_for("runs/*/manifest.json", running)
    os.killpg(running.pid, signal.SIGSTOP)  # so that it cannot finish while the other one starts
    refused = kalign_here("train", *short)
    os.killpg(running.pid, signal.SIGCONT)
    assert refused.returncode == 2
    assert f"is locked by process {running.pid}" in refused.stderr
    said, _ = running.communicate(timeout=120)
    assert running.returncode == 0, said


def test_multirun_trains_each_combination_in_a_folder_of_its_own(
    kalign_here: Kalign, short: list[str]
) -> None:
    Path("mine.yaml").write_text(
        "defaults: [tiny, _self_]\nname: mine\nloss: {loss_type: hinge}\n", encoding="utf-8"
    )
    words = [word for word in short if not word.startswith("recipe=")]
    done = kalign_here("train", "-m", *words, "recipe=tiny,mine.yaml", "trainer.max_steps=1")
    assert done.returncode == 0, done.stderr[-3000:]
    names = sorted(
        path.name.rsplit("-", 1)[0] for path in Path("runs").iterdir() if (path / "result.json").exists()
    )
    assert names == ["mine", "tiny"]


def test_wandb_offline_gets_the_curves_and_nothing_gets_a_secret(kalign: Kalign, short: list[str]) -> None:
    token, key = "hf_" + "canary" * 5, "f" * 40
    words = [*short, "tracker=wandb", "tracker.mode=offline"]
    done = kalign("train", *words, WANDB_SILENT="true", HF_TOKEN=token, WANDB_API_KEY=key)
    assert done.returncode == 0, done.stderr[-3000:]
    assert list(only_run(Path("runs")).glob("wandb/offline-run-*/*.wandb"))
    written = [path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()]
    for secret in (token, key):
        assert secret not in done.stdout + done.stderr
        assert not any(secret.encode() in content for content in written)


def test_tensorboard_gets_the_curves(kalign_here: Kalign, short: list[str]) -> None:
    panel = ["evaluation.panel_every=4", "evaluation.panel_prompts=2"]
    run = train(kalign_here, short, "tracker=tensorboard", *panel)
    [events] = run.glob("tensorboard/events.*")
    assert b"train/loss" in events.read_bytes()
    assert b"panel/benign_refused" in events.read_bytes()


@pytest.mark.parametrize("name", ["ipo", "robust", "sppo_hard", "[sigmoid,sft]", "discopop"])
def test_other_losses_train_under_their_own_names(name: str, kalign_here: Kalign, short: list[str]) -> None:
    run = train(kalign_here, short, f"loss.loss_type={name}", "trainer.max_steps=2")
    assert all(math.isfinite(log["loss"]) for log in history(run) if "loss" in log)


@pytest.mark.skipif(not SHARED.is_dir(), reason="SQuARe lies in ../shared/data, which is not here")
def test_the_square_recipe_trains_through_accelerate_and_its_ledger_adds_up() -> None:
    launch = [str(Path(sys.executable).parent / "accelerate"), "launch", "--num_processes=1"]
    path = SHARED / "square/response_test_ood.json"
    few = ["trainer.max_steps=1", "evaluation.held_out_prompts=false"]
    done = subprocess.run(
        [*launch, str(ROOT / "train.py"), "recipe=square", f"data.path={path}", *few],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    run = only_run(Path("runs"))
    account = json.loads((run / "manifest.json").read_text(encoding="utf-8"))["ledger"]
    assert account["facts"]["responses"] == 480
    assert account["facts"]["questions"] == 254
    assert account["facts"]["questions with both labels"] == 104
    lines = [row for _, row in files.read_parquet(run / "ledger.parquet")]
    assert (
        len(lines) == account["rows"] == account["train"] + account["eval"] + sum(account["dropped"].values())
    )
