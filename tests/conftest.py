"""What the tests share: a model small enough to train in seconds, and the command line as a user calls it."""

import gc
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before any library of Hugging Face is imported
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_NUM_THREADS"] = "1" if "PYTEST_XDIST_WORKER" in os.environ else "2"
os.environ["KINETO_LOG_LEVEL"] = "6"  # torch's profiler would write of every start

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"

Result = subprocess.CompletedProcess[str]


gc.disable()  # while the tests and what they need are loaded, as a command does


def pytest_collection_finish() -> None:
    """What is loaded by now is never garbage."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files of slow tests, so that no worker is left with one of them at the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(autouse=True)
def away_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test starts in an empty folder, so that no run folder of one is found by another."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def floats_stay_floats() -> Iterator[None]:
    """A test that leaves torch's default type changed fails itself, rather than the trainings after it."""
    yield
    if torch := sys.modules.get("torch"):
        left = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        assert left == torch.float32


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """On models this small, threads only wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def kalign() -> Callable[..., Result]:
    """Call the command line in a process of its own: kalign("train", "recipe=tiny")."""

    def call(*words: str, **environment: str) -> Result:
        return subprocess.run(
            [sys.executable, "-m", "kalign", *words],
            capture_output=True,
            text=True,
            env=os.environ | environment,
            timeout=300,
        )

    return call


@pytest.fixture
def kalign_here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The same in this process, which has loaded torch already: for what needs no process of its own."""
    from kalign import cli

    def call(*words: str, **environment: str) -> Result:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        code = cli.run(list(words))
        said = capsys.readouterr()
        return subprocess.CompletedProcess(list(words), code, said.out, said.err)

    return call


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of two layers with the bundled tokenizer: trains a step in a fraction of a second."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from kalign.models.loading import BUNDLED

    folder = tmp_path_factory.mktemp("models") / "small"
    tokenizer = AutoTokenizer.from_pretrained(BUNDLED / "tiny")
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def pairs_file(tmp_path: Path) -> Path:
    """Forty pairs of short Korean sentences about numbers, so that nothing in them is like anything else."""
    path = tmp_path / "pairs.jsonl"
    write(path, [pair(number) for number in range(40)])
    return path


@pytest.fixture
def short(small_model: Path, pairs_file: Path) -> list[str]:
    """The words of a training of four steps on the small model."""
    return [
        "recipe=tiny",
        f"model.repo={small_model}",
        f"data.path={pairs_file}",
        "trainer.max_steps=4",
        "trainer.pairs_per_step=8",
        "trainer.per_device_train_batch_size=4",
        "trainer.save_steps=1",
        "trainer.eval_steps=2",
        "trainer.logging_steps=1",
        "evaluation.generations=1",
        "evaluation.held_out_prompts=false",
        "evaluation.max_new_tokens=8",
    ]


def pair(number: int) -> dict[str, str]:
    """One pair; each number gives another."""
    return {
        "prompt": f"{number}번 민원은 어떻게 처리하나요?",
        "chosen": f"{number}번 창구에서 신분증을 보여 주시면 {number + 3}분 안에 처리해 드립니다.",
        "rejected": f"몰라요. {number * 7}번쯤 다시 와 보세요.",
    }


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def history(run: Path) -> list[dict[str, Any]]:
    """The curves of a run."""
    return [json.loads(line) for line in (run / "history.jsonl").read_text(encoding="utf-8").splitlines()]


def only_run(folder: Path) -> Path:
    """The one run in a folder."""
    [run] = [path for path in folder.iterdir() if (path / "run.lock").exists()]
    return run


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Twins are built anew for each session of tests, never taken from the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def quiet_libraries() -> Iterator[None]:
    """Leave the progress bars of libraries out of the tests' output."""
    os.environ["TQDM_DISABLE"] = "1"
    yield
    del os.environ["TQDM_DISABLE"]
