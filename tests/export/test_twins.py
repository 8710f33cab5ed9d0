"""Every family's twin, trained with LoRA and with QLoRA, exported and proven."""

import json
from pathlib import Path

import pytest

from kalign.export import export
from kalign.export.export import Wanted
from kalign.export.prover import Prover
from tests.export.conftest import Trained
from tests.training.test_families import FAMILIES, LORA, QLORA

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("adapter", [LORA, QLORA], ids=["lora", "qlora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_twin_exports_and_keeps_what_it_learned(
    family: str, adapter: tuple[str, ...], trained: Trained, prover: Prover
) -> None:
    certificate = export.export(Wanted(run=trained(family, *adapter), out=Path("out")), prover)
    measured, tensors = certificate["measured"], certificate["tensors"]
    assert measured["retention"] == pytest.approx(1, abs=0.05)
    assert measured["margin_retention"] == pytest.approx(1, abs=0.05)
    assert measured["effect_cosine"] > 0.99
    assert measured["kl_adapter_merged"] < 1e-3
    assert measured["largest_difference_from_base"] > 0.01
    assert tensors["differ_from_base"] == tensors["trained"] == (3 if family == "gemma" else 2) * 7
    assert ("other_base" in certificate) == (adapter is QLORA)
    assert certificate["base"]["merged_into"] == ("dequantised" if adapter is QLORA else "16bit")
    exact_in = [place for place, said in certificate["tokens"]["auto_tokenizer"].items() if said == "exact"]
    assert exact_in == (["tokenizer"] if family == "ax" else ["."])
    written = json.loads(Path("out/certificate.json").read_text(encoding="utf-8"))
    assert written == certificate == export.verify(Path("out"), None)
    assert [path.name for path in Path().iterdir()] == ["out"]
