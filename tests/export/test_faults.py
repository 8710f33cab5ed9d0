"""Faults planted into exports: each is refused with a code of its own, before an export gets its name."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from torch import Tensor

from kalign import files
from kalign.export import companions, export
from kalign.export.export import Wanted
from kalign.export.faults import Fault
from kalign.export.prover import Prover, Question
from kalign.models import twins
from tests.conftest import Result
from tests.export.conftest import Trained
from tests.training.test_families import LORA

pytestmark = pytest.mark.slow
Weights = dict[str, Tensor]
LAYER = "model.layers.0.mlp.up_proj.weight"
BIAS = "model.layers.0.self_attn.q_proj.bias"
HEAD = "lm_head.weight"
Good = tuple[Path, Path]  # an export and its run


@pytest.fixture(scope="module")
def good(trained: Trained, prover: Prover, tmp_path_factory: pytest.TempPathFactory) -> Good:
    """A Qwen's export; its base has biases, and a head of its own."""
    run, out = trained("qwen", *LORA), tmp_path_factory.mktemp("good") / "qwen"
    export.export(Wanted(run=run, out=out), prover)
    return out, run


@pytest.fixture(scope="module")
def tied(trained: Trained, prover: Prover, tmp_path_factory: pytest.TempPathFactory) -> Good:
    """A Gemma's, whose head is its embedding."""
    run, out = trained("gemma", *LORA), tmp_path_factory.mktemp("tied") / "gemma"
    export.export(Wanted(run=run, out=out), prover)
    return out, run


def copied(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target))


def rewritten(folder: Path, change: Callable[[Weights], Any]) -> None:
    weights = load_file(folder / "model.safetensors")
    changed = change(weights)
    save_file(
        changed if isinstance(changed, dict) else weights,
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )


def edited(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(content), encoding="utf-8")


def refused(prover: Prover, folder: Path, run: Path) -> str:
    """The code with which the process that proves refuses a folder."""
    question = Question(folder=str(folder), run=str(run), format="merged", dtype=None, base="16bit")
    with pytest.raises(Fault) as fault:
        prover.prove(question)
    return fault.value.code


def twice(weights: Weights) -> None:
    base = load_file(twins.folder("qwen") / "model.safetensors")
    for name, weight in base.items():
        weights[name] = (2 * weights[name].float() - weight.float()).to(weight.dtype)


IN_WEIGHTS: dict[str, Callable[[Weights], Any]] = {
    "missing-tensor": lambda weights: weights.pop(BIAS),
    "extra-tensor": lambda weights: weights.update(new=weights[HEAD].clone()),
    "prefix": lambda weights: {f"language_model.{name}": weight for name, weight in weights.items()},
    "shape": lambda weights: weights.update({HEAD: weights[HEAD][:-1].clone()}),
    "dtype": lambda weights: weights.update({LAYER: weights[LAYER].half()}),
    "outside-changed": lambda weights: weights.update({HEAD: weights[HEAD] * 2}),
    "not-finite": lambda weights: weights[LAYER].fill_(float("nan")),
    "nothing-merged": lambda weights: load_file(twins.folder("qwen") / "model.safetensors"),
    "effect-overshoots": twice,
}
IN_FILES: dict[str, Callable[[Path], Any]] = {
    "tokenizer": lambda folder: (folder / "tokenizer.json").unlink(),
    "template": lambda folder: (folder / "chat_template.jinja").write_text("{{ messages[0]['content'] }}"),
    "stops": lambda folder: edited(folder / "generation_config.json", eos_token_id=[0]),
    "settings": lambda folder: edited(folder / "config.json", rms_norm_eps=1e-5),
}


@pytest.mark.parametrize("code", [*IN_WEIGHTS])
def test_a_fault_in_the_weights_has_its_own_code(
    code: str, good: Good, prover: Prover, tmp_path: Path
) -> None:
    bad = copied(good[0], tmp_path / "bad")
    rewritten(bad, IN_WEIGHTS[code])
    assert refused(prover, bad, good[1]) == code


@pytest.mark.parametrize("code", [*IN_FILES])
def test_a_fault_beside_the_weights_has_its_own_code(
    code: str, good: Good, prover: Prover, tmp_path: Path
) -> None:
    bad = copied(good[0], tmp_path / "bad")
    IN_FILES[code](bad)
    assert refused(prover, bad, good[1]) == code


def test_a_head_that_is_no_longer_the_embedding_is_refused(
    tied: Good, prover: Prover, tmp_path: Path
) -> None:
    bad = copied(tied[0], tmp_path / "bad")
    embedding = next(name for name in load_file(bad / "model.safetensors") if "embed_tokens" in name)
    rewritten(bad, lambda weights: weights.update({HEAD: weights[embedding] * 2}))
    assert refused(prover, bad, tied[1]) == "tied-head"
    untied = copied(tied[0], tmp_path / "untied")
    edited(untied / "config.json", tie_word_embeddings=False)
    assert refused(prover, untied, tied[1]) == "tied-head"


def broken(run: Path, target: Path, change: Callable[[Weights], Any]) -> Path:
    """The run with another adapter, as if it had written that one."""
    copy = copied(run, target)
    path = copy / "adapter/adapter_model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path)
    edited(copy / "result.json", adapter_sha256=files.sha256(path))
    return copy


def test_an_adapter_with_nan_is_refused_and_nothing_is_left(
    good: Good, kalign_here: Callable[..., Result], tmp_path: Path
) -> None:
    def spoil(weights: Weights) -> None:
        next(iter(weights.values()))[0, 0] = float("nan")

    run = broken(good[1], tmp_path / "runs", spoil)
    done = kalign_here("export", f"run={run}", "out=new/model")
    assert done.returncode == 4
    assert "[not-finite]" in done.stderr and "lora_A" in done.stderr
    assert not list(Path("new").iterdir())


def test_an_adapter_that_lacks_a_tensor_is_refused(good: Good, prover: Prover, tmp_path: Path) -> None:
    run = broken(good[1], tmp_path / "runs", lambda weights: weights.pop(sorted(weights)[0]))
    with pytest.raises(Fault, match=r"\[adapter-damaged\] .* lacks a;"):
        export.export(Wanted(run=run, out=Path("out")), prover)


def test_an_adapter_that_the_run_did_not_write_is_refused(good: Good, prover: Prover, tmp_path: Path) -> None:
    run = copied(good[1], tmp_path / "runs")
    edited(run / "result.json", adapter_sha256="0" * 64)
    with pytest.raises(Fault, match=r"\[adapter-damaged\]"):
        export.export(Wanted(run=run, out=Path("out")), prover)


def test_another_base_than_the_trained_one_is_refused(good: Good, prover: Prover, tmp_path: Path) -> None:
    run = copied(good[1], tmp_path / "runs")
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    manifest["recipe"]["model"] |= {
        "twin": False,
        "repo": str(copied(twins.folder("qwen"), tmp_path / "base")),
    }
    edited(run / "manifest.json", recipe=manifest["recipe"])
    export.export(Wanted(run=run, out=Path("same")), prover)  # the same weights, from another folder
    rewritten(tmp_path / "base", lambda weights: weights[LAYER].mul_(1.5))
    with pytest.raises(Fault, match=r"\[wrong-base\] .*base holds other weights"):
        export.export(Wanted(run=run, out=Path("other")), prover)
    assert not Path("other").exists()


def test_another_run_than_the_exported_one_is_refused(good: Good, trained: Trained, prover: Prover) -> None:
    other = trained("qwen", *LORA, "trainer.seed=3")
    with pytest.raises(Fault) as fault:
        export.verify(good[0], other, prover)
    assert fault.value.code == "wrong-run"


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def test_one_flipped_byte_is_found_by_the_files_alone(
    good: Good, kalign_here: Callable[..., Result], tmp_path: Path
) -> None:
    bad = copied(good[0], tmp_path / "bad")
    flip(bad / "model.safetensors")
    done = kalign_here("export", "--verify", str(bad))
    assert done.returncode == 4
    assert "[sums]" in done.stderr and "model.safetensors is changed" in done.stderr
    companions.write_sums(bad, companions.sums(bad))
    with pytest.raises(Fault, match=r"\[sums\] .* is not the file that was certified"):
        export.verify(bad, None)


def recertified(folder: Path) -> None:
    """Let certificate and sums name the files as they are now."""
    hashes = companions.sums(folder)
    named = {name: hashes[name] for name in hashes if name not in ("certificate.json", "README.md")}
    edited(folder / "certificate.json", files=named)
    companions.write_sums(folder, companions.sums(folder))


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("not-finite", lambda folder: rewritten(folder, IN_WEIGHTS["not-finite"])),
        ("shape", lambda folder: rewritten(folder, IN_WEIGHTS["shape"])),
        ("template", IN_FILES["template"]),
        ("stops", IN_FILES["stops"]),
        ("files", lambda folder: edited(folder / "config.json", seen="/home/somebody/models/base")),
    ],
    ids=["not-finite", "shape", "template", "stops", "files"],
)
def test_what_sums_cannot_show_the_files_alone_still_do(
    code: str, change: Callable[[Path], Any], good: Good, tmp_path: Path
) -> None:
    bad = copied(good[0], tmp_path / "bad")
    change(bad)
    recertified(bad)
    with pytest.raises(Fault) as fault:
        export.verify(bad, None)
    assert fault.value.code == code


def test_the_files_alone_say_what_was_not_measured(good: Good, kalign_here: Callable[..., Result]) -> None:
    done = kalign_here("export", "--verify", str(good[0]))
    assert done.returncode == 0
    assert "Not measured again" in done.stdout
    empty = kalign_here("export", "--verify", str(good[1]))
    assert empty.returncode == 4 and "no export" in empty.stderr


def test_an_export_with_its_run_is_measured_again(good: Good, prover: Prover, tmp_path: Path) -> None:
    assert export.verify(good[0], good[1], prover)["measured"]["retention"] == pytest.approx(1, abs=0.05)
    bad = copied(good[0], tmp_path / "bad")
    rewritten(bad, IN_WEIGHTS["effect-overshoots"])
    recertified(bad)
    with pytest.raises(Fault) as fault:
        export.verify(bad, good[1], prover)
    assert fault.value.code == "effect-overshoots"
