"""Exports of twins: merged, proven, and refused with a code of its own for each planted fault."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from kalign.export import companions, export
from kalign.export.faults import Fault
from tests.conftest import Result, only_run, pair, write
from tests.training.test_families import LORA, QLORA, SHORT

pytestmark = pytest.mark.slow
Kalign = Callable[..., Result]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, tuple[str, ...]], Path]:
    """The run of a family with an adapter, trained once."""
    from kalign import cli

    root = tmp_path_factory.mktemp("trained")
    write(root / "few.jsonl", [pair(number) for number in range(10)])

    def run(family: str, adapter: tuple[str, ...]) -> Path:
        runs = root / f"{family}-{adapter[0].removeprefix('adapter=')}"
        if not runs.is_dir():
            words = [
                f"recipe={family}",
                f"data.path={root / 'few.jsonl'}",
                f"runs_dir={runs}",
                *SHORT,
                *adapter,
            ]
            assert cli.run(["train", *words]) == 0
        return only_run(runs)

    return run


@pytest.mark.parametrize(
    ("family", "adapter"),
    [("qwen", LORA), ("exaone", QLORA), ("gemma", LORA)],
    ids=["qwen", "exaone", "gemma"],
)
def test_a_twin_exports_and_keeps_what_it_learned(
    family: str, adapter: tuple[str, ...], trained: Callable[..., Path], kalign_here: Kalign
) -> None:
    done = kalign_here("export", f"run={trained(family, adapter)}", "out=out", "--json")
    assert done.returncode == 0, done.stderr
    certificate = json.loads(done.stdout)
    assert certificate["measured"]["retention"] == pytest.approx(1, abs=0.05)
    assert certificate["tensors"]["differ_from_base"] == certificate["tensors"]["trained"]
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in Path("out").iterdir())
    assert not list(Path().glob(".out*"))


def plant(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    companions.write_sums(folder)


def test_each_planted_fault_has_its_own_code(trained: Callable[..., Path], tmp_path: Path) -> None:
    run = trained("qwen", LORA)
    export.export(export.Wanted(run=run, out=tmp_path / "good"))
    bias, head = "model.layers.0.self_attn.q_proj.bias", "lm_head.weight"
    layer = "model.layers.0.mlp.up_proj.weight"
    for code in ("missing-tensor", "extra-tensor", "outside-changed", "not-finite"):
        bad = Path(shutil.copytree(tmp_path / "good", tmp_path / code))
        plant(bad, partial(_apply, code=code, bias=bias, head=head, layer=layer))
        with pytest.raises(Fault) as refused:
            export.verify(bad, run)
        assert refused.value.code == code
    flipped = tmp_path / "good/model.safetensors"
    content = bytearray(flipped.read_bytes())
    content[-1] ^= 1
    flipped.write_bytes(bytes(content))
    with pytest.raises(Fault) as refused:
        export.verify(tmp_path / "good", None)
    assert refused.value.code == "sums"


def _apply(weights: dict[str, torch.Tensor], code: str, bias: str, head: str, layer: str) -> None:
    if code == "missing-tensor":
        del weights[bias]
    elif code == "extra-tensor":
        weights[f"language_model.{layer}"] = weights[layer].clone()
    elif code == "outside-changed":
        weights[head] = weights[head] * 2
    else:
        weights[layer] = torch.full_like(weights[layer], float("nan"))
