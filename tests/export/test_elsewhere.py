"""Exports where kalign is not: plain transformers in another process, and an OpenAI-compatible server."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from kalign.config import Quantization
from kalign.export import export, origin
from kalign.export.export import Wanted
from kalign.export.prover import Prover
from kalign.models import loading
from tests.export.conftest import Trained
from tests.training.test_families import LORA

pytestmark = pytest.mark.slow
FAMILIES = ("exaone", "ax", "qwen", "gemma")  # Llama's names, a tokenizer of its own, biases, a tied head
QUESTIONS = ("민원은 어떻게 처리하나요?", "전화 02-1234-5678, 2024년 3월 15일")
NEW = 12
STRANGER = """
import json, pathlib, sys
sys.modules["kalign"] = None  # even where it is installed, it cannot be imported
try:
    import kalign
    sys.exit("kalign is here")
except ModuleNotFoundError:
    pass
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
asked, said = json.loads(sys.argv[1]), {}
for folder in asked["folders"]:
    own = pathlib.Path(folder) / "tokenizer"
    tokenizer = AutoTokenizer.from_pretrained(own if own.is_dir() else folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    said[folder] = []
    for question in asked["questions"]:
        turns = [{"role": "user", "content": question}]
        ids = tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        out = model.generate(**ids, max_new_tokens=asked["new"], do_sample=False)
        said[folder].append(tokenizer.decode(out[0, ids["input_ids"].shape[1]:], skip_special_tokens=True))
assert not any(name.startswith("kalign.") for name in sys.modules)
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def exported(
    trained: Trained, prover: Prover, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, Path]]:
    """An export and its run by family, in float32 so that greedy answers are just those of the training."""
    root = tmp_path_factory.mktemp("exported")
    made = {}
    for family in FAMILIES:
        run = trained(family, *LORA)
        export.export(Wanted(run=run, out=root / family, dtype="float32"), prover)
        made[family] = (root / family, run)
    return made


def answers(run: Path) -> tuple[list[str], list[str]]:
    """What the trained model answers greedily in this process, and what its base does."""
    made = origin.read(run)
    tokenizer = loading.load_tokenizer(made.model, made.located)
    base = loading.load_model(made.model, made.located, Quantization(), device=torch.device("cpu"))
    model = PeftModel.from_pretrained(base, run / "adapter").eval()

    def said(question: str) -> str:
        turns = [{"role": "user", "content": question}]
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        ids = torch.tensor([tokenizer.encode(text, add_special_tokens=False)])
        out = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, do_sample=False
        )
        return str(tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True))

    after = [said(question) for question in QUESTIONS]
    with model.disable_adapter():
        return after, [said(question) for question in QUESTIONS]


def test_plain_transformers_without_kalign_says_what_the_trained_model_says(
    exported: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    folders = [str(folder) for folder, _ in exported.values()]
    asked = json.dumps({"folders": folders, "questions": QUESTIONS, "new": NEW})
    done = subprocess.run(
        [sys.executable, "-I", "-c", STRANGER, asked], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.splitlines()[-1])
    for folder, run in exported.values():
        after, before = answers(run)
        assert said[str(folder)] == after
        assert after != before


@contextmanager
def served(folder: Path, log: Path) -> Iterator[str]:
    """The address of an OpenAI-compatible server of the folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["serve", str(folder), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    program = Path(sys.executable).parent / "transformers"
    with log.open("w") as out:
        process = subprocess.Popen(
            [program, *words], stdout=out, stderr=out, env=os.environ | {"PYTHONPATH": ""}
        )
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(240):
            assert process.poll() is None, log.read_text()[-2000:]
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5).close()
                break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.5)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


def completed(address: str, model: str, question: str) -> Any:
    content = {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": NEW,
        "temperature": 0,
    }
    asked = urllib.request.Request(
        f"{address}/v1/chat/completions",
        data=json.dumps(content).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked, timeout=60) as reply:
        return json.load(reply)["choices"][0]["message"]["content"]


def test_a_server_answers_over_http_what_the_trained_model_says(
    exported: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    folder, run = exported["exaone"]
    with served(folder, tmp_path / "server.log") as address:
        said = [completed(address, str(folder), question) for question in QUESTIONS]
    assert said == answers(run)[0]
