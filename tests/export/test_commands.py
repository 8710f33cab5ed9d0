"""kalign export and kalign push as a user calls them: what they print, leave behind, and refuse."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kalign.export import alone, export, push
from kalign.export.export import Wanted
from kalign.export.prover import Prover, silent
from tests.conftest import Result
from tests.export.conftest import Trained
from tests.export.test_faults import edited, flip, recertified
from tests.training.test_families import LORA, QLORA

pytestmark = pytest.mark.slow
Kalign = Callable[..., Result]


@pytest.fixture(scope="module")
def exported(trained: Trained, prover: Prover, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of an A.X, whose tokenizer plain transformers would replace."""
    out = tmp_path_factory.mktemp("exported") / "my-model"
    export.export(Wanted(run=trained("ax", *QLORA), out=out), prover)
    return out


def test_the_card_says_what_a_reader_must_know(exported: Path) -> None:
    card = (exported / "README.md").read_text(encoding="utf-8")
    for said in (
        "base_model: twin:ax",
        "QLoRA on nf4 (r 16, alpha 16, dropout 0.05): 1 steps of 2 pairs",
        "| trained on | 9 |",
        "| held out | 1 |",
        "few.jsonl | 10 | `",
        "| reward accuracy | - | 1.000 [0.207, 1.000] |",
        "Licence of the base: ",
        "| retention | ",
        "| merged into 16bit instead | retention ",
        "| AutoTokenizer on tokenizer/ | exact |",
        "vllm serve my-model --tokenizer my-model/tokenizer",
        "`transformers serve` cannot",
        "kalign export --verify",
    ):
        assert said in card, said


def test_nothing_in_an_export_says_where_it_was_made(exported: Path, trained: Trained) -> None:
    run = trained("ax", *QLORA)
    for path in exported.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644)
        if path.is_file():
            content = path.read_bytes()
            assert not alone.HOME.search(content) or path.name == "tokenizer.json"
            assert str(run.parent).encode() not in content
    assert not (exported / "training_args.bin").exists()
    listed = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=exported, capture_output=True, text=True
    )
    assert listed.returncode == 0, listed.stderr


def test_two_exports_of_a_run_are_the_same_bytes(
    exported: Path, trained: Trained, prover: Prover, tmp_path: Path
) -> None:
    export.export(Wanted(run=trained("ax", *QLORA), out=tmp_path / "my-model"), prover)
    sums = (exported / "SHA256SUMS").read_text(encoding="utf-8")
    assert (tmp_path / "my-model/SHA256SUMS").read_text(encoding="utf-8") == sums


def test_an_export_prints_its_certificate_and_one_that_was_killed_leaves_nothing_in_the_way(
    trained: Trained, kalign: Kalign
) -> None:
    run = trained("qwen", *LORA)
    words = [sys.executable, "-m", "kalign", "export", f"run={run}", "out=new/model"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not list(Path().glob("new/.model-*/export/model.safetensors")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert [path.name[:7] for path in Path("new").iterdir()] == [".model-"]
    done = kalign("export", f"run={run}", "out=new/model")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in Path("new").iterdir()] == ["model"]
    for said in ("Certificate", "retention", "greedy answers equal", "Written and proven: new/model"):
        assert said in done.stdout
    assert "Warning" not in done.stderr and "%|" not in done.stderr


def test_json_is_one_document(exported: Path, kalign_here: Kalign) -> None:
    done = kalign_here("export", "--verify", str(exported), "--json")
    assert json.loads(done.stdout)["format"] == "merged"
    assert "Holds" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run=runs/none", "out=out"], "has no manifest.json"),
        (["run=runs/none"], "out is missing"),
        (["out=out"], "run is missing"),
        (["run=a", "out=b", "accept_loss=yes"], "must be true or false"),
        (["run=a", "out=b", "format=merge"], "did you mean merged?"),
        (["run=a", "out=b", "base=16"], "use one of 16bit, dequantised"),
        (["--verify", "x", "out=b"], "out has no meaning with --verify"),
    ],
)
def test_words_that_make_no_sense_are_refused(words: list[str], said: str, kalign_here: Kalign) -> None:
    done = kalign_here("export", *words)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_process_that_is_ended_from_outside_is_named(trained: Trained) -> None:
    with Prover() as prover:
        assert prover._process is not None
        os.kill(prover._process.pid, signal.SIGKILL)
        prover._process.wait()
        prover._start = lambda: prover._process  # type: ignore[assignment,method-assign,return-value]
        with pytest.raises(Exception, match="was ended, most likely for want of memory"):
            export.export(Wanted(run=trained("qwen", *LORA), out=Path("out")), prover)
    assert not list(Path().iterdir())


def test_a_push_is_a_dry_run_that_checks_first(exported: Path, kalign_here: Kalign, tmp_path: Path) -> None:
    done = kalign_here("push", str(exported), "repo=me/my-model")
    assert done.returncode == 0, done.stderr
    assert "Nothing was uploaded" in done.stdout
    assert "model.safetensors" in done.stdout and "tokenizer/tokenizer.json" in done.stdout
    wrong = kalign_here("push", str(exported), "repo=my-model")
    assert wrong.returncode == 2 and "no OWNER/NAME" in wrong.stderr
    bare = kalign_here("push", str(tmp_path), "repo=me/my-model", "--yes")
    assert bare.returncode == 4 and "no certificate.json" in bare.stderr


def test_a_push_without_a_certificate_that_holds_uploads_nothing(
    exported: Path, trained: Trained, prover: Prover, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[dict[str, Any]] = []
    hub = push.huggingface_hub.HfApi
    monkeypatch.setattr(hub, "create_repo", lambda self, repo, **words: sent.append(words | {"repo": repo}))
    monkeypatch.setattr(hub, "upload_folder", lambda self, **words: sent.append(words))
    export.export(Wanted(run=trained("llama", *LORA), out=Path("out")), prover)
    with pytest.raises(push.ConfigError, match="begin with 'Llama'"):
        push.push(Path("out"), "me/my-model", None, silent, yes=True)
    flip(Path("out/model.safetensors"))
    with pytest.raises(export.alone.Fault, match=r"\[sums\]"):
        push.push(Path("out"), "me/Llama-mine", None, silent, yes=True)
    assert not sent
    flip(Path("out/model.safetensors"))
    assert push.push(Path("out"), "me/Llama-mine", None, silent, yes=True)["uploaded"]
    assert sent[0]["private"] and sent[1]["folder_path"] == Path("out")


def test_a_folder_that_names_another_turn_end_is_refused(
    exported: Path, tmp_path: Path, kalign_here: Kalign
) -> None:
    bad = tmp_path / "bad"
    subprocess.run(["cp", "-r", exported, bad], check=True)
    edited(bad / "config.json", eos_token_id=1)
    edited(bad / "generation_config.json", eos_token_id=1)
    recertified(bad)
    done = kalign_here("export", "--verify", str(bad))
    assert done.returncode == 4 and "[stops]" in done.stderr
