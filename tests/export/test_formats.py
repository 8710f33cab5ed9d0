"""What else than a plain merge can be asked for: other types, other bases, other formats, other adapters."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors import safe_open

from kalign.config import Quantization
from kalign.errors import ConfigError, IntegrityError, ResourceError
from kalign.export import export, gguf, origin
from kalign.export.export import Wanted
from kalign.export.prover import Prover
from kalign.models import loading
from tests.conftest import Result
from tests.export.conftest import Trained
from tests.export.test_faults import edited
from tests.training.test_families import LORA, QLORA

pytestmark = pytest.mark.slow
FAINT = ("trainer.learning_rate=1e-5",)  # one step of it moves weights by less than bfloat16 can hold


def kinds(folder: Path) -> set[str]:
    """The types of the tensors that were merged."""
    with safe_open(folder / "model.safetensors", "pt") as weights:
        return {weights.get_slice(name).get_dtype() for name in weights.keys() if "_proj.weight" in name}  # noqa: SIM118


def test_a_merge_that_rounding_undoes_is_refused_and_says_what_to_do(
    trained: Trained, kalign_here: Callable[..., Result]
) -> None:
    done = kalign_here("export", f"run={trained('qwen', *LORA, *FAINT)}", "out=out")
    assert done.returncode == 4
    assert "[effect-lost]" in done.stderr
    assert all(way in done.stderr for way in ("dtype=float32", "format=adapter", "accept_loss=true"))
    assert not list(Path().iterdir())


def test_float32_keeps_what_bfloat16_loses(trained: Trained, prover: Prover) -> None:
    run = trained("qwen", *LORA, *FAINT)
    whole = export.export(Wanted(run=run, out=Path("whole"), dtype="float32"), prover)
    assert whole["measured"]["retention"] == pytest.approx(1, abs=1e-3)
    assert not whole["accepted_loss"]
    assert kinds(Path("whole")) == {"F32"}
    assert json.loads(Path("whole/config.json").read_text(encoding="utf-8"))["dtype"] == "float32"
    halves = export.export(Wanted(run=run, out=Path("half"), dtype="float16", accept_loss=True), prover)
    lost = export.export(Wanted(run=run, out=Path("lost"), dtype="bfloat16", accept_loss=True), prover)
    assert kinds(Path("half")) == {"F16"} and kinds(Path("lost")) == {"BF16"}
    assert lost["measured"]["retention"] < halves["measured"]["retention"]
    assert lost["accepted_loss"]
    assert "is lost in this merge" in Path("lost/README.md").read_text(encoding="utf-8")
    assert "is lost" not in Path("whole/README.md").read_text(encoding="utf-8")
    assert export.verify(Path("lost"), run, prover)["accepted_loss"]


def test_a_4_bit_run_merges_into_either_base_and_both_are_measured(trained: Trained, prover: Prover) -> None:
    run = trained("qwen", *QLORA)
    sat_on = export.export(Wanted(run=run, out=Path("sat")), prover)
    assert sat_on["other_base"]["merged_into"] == "16bit"
    whole = export.export(Wanted(run=run, out=Path("whole"), base="16bit", accept_loss=True), prover)
    assert whole["base"]["merged_into"] == "16bit" and whole["other_base"]["merged_into"] == "dequantised"
    for key in ("retention", "effect_cosine", "margin_retention"):
        assert whole["other_base"][key] == pytest.approx(sat_on["measured"][key], abs=1e-3)
        assert whole["measured"][key] == pytest.approx(sat_on["other_base"][key], abs=1e-3)
    assert whole["measured"]["base_shift"] > 0.1  # four bits move the model, by part of the effect or more
    assert "16-bit to 4-bit base" in Path("whole/README.md").read_text(encoding="utf-8")


def test_a_16_bit_run_has_no_other_base(trained: Trained, prover: Prover) -> None:
    with pytest.raises(ConfigError, match="base=dequantised is for runs on 4-bit weights"):
        export.export(Wanted(run=trained("qwen", *LORA), out=Path("out"), base="dequantised"), prover)


@pytest.mark.parametrize("setting", ["use_dora", "use_rslora"])
def test_the_other_kinds_of_lora_merge_exactly(setting: str, trained: Trained, prover: Prover) -> None:
    run = trained("qwen", *LORA, f"adapter.{setting}=true")
    made = export.export(Wanted(run=run, out=Path("out"), dtype="float32"), prover)
    assert made["measured"]["retention"] == pytest.approx(1, abs=1e-4)
    assert made["measured"]["kl_adapter_merged"] < 1e-6


@pytest.mark.parametrize(
    ("setting", "value"),
    [("modules_to_save", ["lm_head"]), ("init_lora_weights", "pissa"), ("alpha_pattern", {"q_proj": 4})],
)
def test_what_cannot_be_merged_is_refused_with_the_setting(
    setting: str, value: object, trained: Trained, prover: Prover, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(trained("qwen", *LORA), tmp_path / "runs"))
    edited(run / "adapter/adapter_config.json", **{setting: value})
    with pytest.raises(ConfigError, match=rf"{setting}=.*format=adapter"):
        export.export(Wanted(run=run, out=Path("out")), prover)


def test_an_adapter_alone_is_the_trained_one(trained: Trained, prover: Prover) -> None:
    run = trained("qwen", *QLORA)
    certificate = export.export(Wanted(run=run, out=Path("out"), format="adapter"), prover)
    assert "measured" not in certificate
    made = origin.read(run)
    base = loading.load_model(made.model, made.located, Quantization(), device=torch.device("cpu"))
    PeftModel.from_pretrained(base, "out")
    settings = json.loads(Path("out/adapter_config.json").read_text(encoding="utf-8"))
    assert settings["base_model_name_or_path"] == "twin:qwen"
    assert "--enable-lora" in Path("out/README.md").read_text(encoding="utf-8")
    assert export.verify(Path("out"), run, prover) == certificate
    with pytest.raises(ConfigError, match="leave dtype and base out"):
        export.export(Wanted(run=run, out=Path("new"), format="adapter", dtype="float16"), prover)


def test_an_exaone_has_the_vendors_names_where_asked(trained: Trained, prover: Prover) -> None:
    run = trained("exaone", *LORA)
    certificate = export.export(Wanted(run=run, out=Path("out"), format="vendor"), prover)
    assert certificate["measured"]["retention"] == pytest.approx(1, abs=0.05)
    with safe_open("out/model.safetensors", "pt") as weights:
        assert all(name.startswith(("transformer.", "lm_head.")) for name in weights.keys())  # noqa: SIM118
    assert json.loads(Path("out/config.json").read_text(encoding="utf-8"))["model_type"] == "exaone"
    assert certificate["tokens"]["auto_tokenizer"]["tokenizer"] == "exact"
    with pytest.raises(ConfigError, match="format=vendor is for EXAONE"):
        export.export(Wanted(run=trained("qwen", *LORA), out=Path("no"), format="vendor"), prover)


def test_gguf_without_the_converter_is_refused_with_the_remedy(
    trained: Trained, prover: Prover, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(gguf, "MODULE", "no_such_converter")
    with pytest.raises(ConfigError, match=r"convert_hf_to_gguf\.py.*format=merged"):
        export.export(Wanted(run=trained("qwen", *LORA), out=Path("out"), format="gguf"), prover)


def test_gguf_holds_the_numbers_of_the_merge(
    trained: Trained, prover: Prover, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llama.cpp knows tokenizers by what they make of one text, so it is told that it knows a twin's."""
    converter = pytest.importorskip("convert_hf_to_gguf")
    script = tmp_path / "bin/convert_hf_to_gguf.py"
    script.parent.mkdir()
    script.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path[0] = {str(Path(converter.__file__).parent)!r}\n"
        "import convert_hf_to_gguf, conversion.base\n"
        "conversion.base.TextModel.get_vocab_base_pre = lambda self, tokenizer: 'qwen2'\n"
        "convert_hf_to_gguf.main()\n",
        encoding="utf-8",
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=os.pathsep)
    certificate = export.export(Wanted(run=trained("qwen", *LORA), out=Path("out"), format="gguf"), prover)
    assert certificate["gguf"]["tensors"] == certificate["tensors"]["all"]
    assert certificate["gguf"]["largest_difference"] == 0
    assert Path("out/out.gguf").read_bytes()[:4] == b"GGUF"
    assert export.verify(Path("out"), None) == certificate


def test_a_run_without_held_out_pairs_is_measured_on_pairs_of_its_training(
    trained: Trained, prover: Prover
) -> None:
    run = trained("qwen", *LORA, "data.eval_share=0")
    certificate = export.export(Wanted(run=run, out=Path("out")), prover)
    assert certificate["measured"]["retention"] == pytest.approx(1, abs=0.05)
    assert certificate["measured"]["pairs_from"].startswith("the training")
    card = Path("out/README.md").read_text(encoding="utf-8")
    assert "No pairs were held out" in card and "from the training" in card


def test_a_run_that_learned_single_answers_is_exported_and_measured_on_them(
    trained: Trained, prover: Prover
) -> None:
    run = trained("qwen", *LORA, "method=sft")
    made = export.export(Wanted(run=run, out=Path("taught"), dtype="float32"), prover)
    assert made["measured"]["retention"] == pytest.approx(1, abs=1e-3)
    assert (made["measured"]["margin_retention"], made["measured"]["pairs"]) == (None, 9)
    card = Path("taught/README.md").read_text(encoding="utf-8")
    assert "tags: [sft, kalign]" in card
    assert "Supervised fine-tuning of" in card and "steps of 2 examples" in card
    assert "| nats a token |" in card
    assert export.verify(Path("taught"), run, prover)["run"] == run.name


def test_a_place_that_cannot_be_written_is_refused(trained: Trained, prover: Prover) -> None:
    with pytest.raises(ResourceError, match="out=/proc/none cannot be written"):
        export.export(Wanted(run=trained("qwen", *LORA), out=Path("/proc/none")), prover)


def test_an_unfinished_run_is_not_exported(trained: Trained, prover: Prover, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained("qwen", *LORA), tmp_path / "runs"))
    (run / "result.json").unlink()
    with pytest.raises(ConfigError, match="is not finished"):
        export.export(Wanted(run=run, out=Path("out")), prover)
    (run / "manifest.json").write_text("{", encoding="utf-8")
    (run / "result.json").write_text("{}", encoding="utf-8")
    with pytest.raises(IntegrityError, match="is damaged"):
        export.export(Wanted(run=run, out=Path("out")), prover)


def test_an_unknown_type_and_a_folder_that_exists_are_refused(trained: Trained, prover: Prover) -> None:
    with pytest.raises(ConfigError, match="dtype=float8 is unknown"):
        export.export(Wanted(run=trained("qwen", *LORA), out=Path("out"), dtype="float8"), prover)
    Path("taken").mkdir()
    with pytest.raises(ConfigError, match="taken exists"):
        export.export(Wanted(run=trained("qwen", *LORA), out=Path("taken")), prover)
