import json
import shutil
from pathlib import Path

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from kalign.config import Model, Quantization
from kalign.errors import ConfigError, DataError, IntegrityError, ResourceError
from kalign.models import loading

CPU = torch.device("cpu")


@pytest.fixture
def folder(small_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_model, tmp_path / "model"))


def test_a_clean_folder_loads_as_the_recipe_says(folder: Path) -> None:
    model = Model(repo=str(folder), dtype="bfloat16")
    loaded = loading.load_model(model, loading.locate(model), Quantization(), device=CPU)
    assert {weight.dtype for weight in loaded.parameters()} == {torch.bfloat16}


def test_the_base_is_held_in_four_bits_when_asked(folder: Path) -> None:
    model = Model(repo=str(folder), dtype="float32")
    quantization = Quantization(load_in_4bit=True, bnb_4bit_compute_dtype="float32")
    loaded = loading.load_model(model, loading.locate(model), quantization, device=CPU)
    assert loaded.model.layers[0].self_attn.q_proj.weight.dtype == torch.uint8
    assert loaded.model.layers[0].self_attn.q_proj.weight.quant_state.quant_type == "nf4"


def test_gradients_pass_through_four_bit_weights_after_an_evaluation_too(folder: Path) -> None:
    model = Model(repo=str(folder), dtype="float32")
    quantization = Quantization(load_in_4bit=True, bnb_4bit_compute_dtype="float32")
    loaded = loading.load_model(model, loading.locate(model), quantization, device=CPU)
    embedded = torch.randn(1, 5, 64, requires_grad=True)

    def gradient() -> torch.Tensor:
        loaded.train()
        (found,) = torch.autograd.grad(loaded(inputs_embeds=embedded).logits.square().sum(), embedded)
        return found

    before = gradient()
    with torch.no_grad():
        loaded.eval()(input_ids=torch.tensor([[1, 4, 300, 5]]))
    assert torch.equal(gradient(), before)


def test_rows_that_a_cpu_would_unpack_wrongly_are_refused(folder: Path) -> None:
    """The first half fails once bitsandbytes unpacks them rightly, and then the refusal can go."""
    weights = torch.randn(64, 96, generator=torch.Generator().manual_seed(0))
    unpacked = dequantize_4bit(*quantize_4bit(weights, quant_type="nf4", blocksize=64))
    assert (unpacked - weights).norm() > 0.15 * weights.norm()
    config = LlamaConfig.from_pretrained(folder, intermediate_size=96)
    LlamaForCausalLM(config).save_pretrained(folder)
    model = Model(repo=str(folder), dtype="float32")
    quantization = Quantization(load_in_4bit=True, bnb_4bit_compute_dtype="float32")
    with pytest.raises(ConfigError, match=r"down_proj has rows of 96 weights"):
        loading.load_model(model, loading.locate(model), quantization, device=CPU)
    loading.load_model(model, loading.locate(model), Quantization(), device=CPU)


def unsafe(folder: Path, case: str) -> None:
    if case == "pickle":
        (folder / "pytorch_model.bin").write_bytes(b"\x80\x04")
    elif case == "code":
        (folder / "modeling_own.py").write_text("raise SystemExit('code of the folder ran')")
    elif case == "auto_map":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoConfig": "m.C"}}))
    elif case == "kernel":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"_attn_implementation_internal": "x/y"}))


@pytest.mark.parametrize("case", ["pickle", "code", "auto_map", "kernel"])
def test_a_folder_that_could_run_code_is_refused_unless_exactly_that_is_trusted(
    case: str, folder: Path
) -> None:
    unsafe(folder, case)
    with pytest.raises(IntegrityError, match="runs code when it is loaded") as refused:
        loading.locate(Model(repo=str(folder)))
    pin = str(refused.value).rsplit("model.revision=", 1)[1]
    trusting = Model(repo=str(folder), trust_remote_code=True, revision=pin)
    assert loading.locate(trusting).folder == folder
    (folder / "more.py").write_text("print()")
    with pytest.raises(IntegrityError):
        loading.locate(trusting)


def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("x")
    (folder / "link.json").symlink_to(tmp_path / "outside")
    with pytest.raises(IntegrityError, match="links to a place outside"):
        loading.locate(Model(repo=str(folder)))


def test_a_path_that_is_nothing_is_refused_before_anything_is_fetched() -> None:
    for repo in ("./none", "some/where/else", "/none", "word"):
        with pytest.raises(ConfigError, match="neither a folder here nor"):
            loading.locate(Model(repo=repo))
    with pytest.raises(ConfigError, match="kalign has bundled:tiny"):
        loading.locate(Model(repo="bundled:none"))
    with pytest.raises(ConfigError, match=r"model\.repo is not set"):
        loading.locate(Model())


def test_a_hub_that_cannot_be_reached_is_said_with_what_to_do() -> None:
    model = Model(repo="someone/something")
    with pytest.raises(ResourceError, match="model.repo=FOLDER"):
        loading.load_tokenizer(model, loading.locate(model))


def test_a_missing_pad_token_must_be_named(folder: Path) -> None:
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(
        json.dumps({k: v for k, v in config.items() if k != "pad_token"})
    )
    model = Model(repo=str(folder))
    with pytest.raises(DataError, match="has no pad token"):
        loading.load_tokenizer(model, loading.locate(model))
    with pytest.raises(DataError, match="is no token of"):
        loading.load_tokenizer(Model(repo=str(folder), pad_token="<none>"), loading.locate(model))
    assert (
        loading.load_tokenizer(Model(repo=str(folder), pad_token="<pad>"), loading.locate(model)).pad_token
        == "<pad>"
    )


def test_damaged_weights_are_said_in_one_sentence(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    model = Model(repo=str(folder))
    with pytest.raises(DataError, match="cannot be loaded"):
        loading.load_model(model, loading.locate(model), Quantization(), device=CPU)


def test_a_base_that_lacks_a_weight_is_refused_and_never_filled_with_random_numbers(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.down_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    model = Model(repo=str(folder), dtype="float32")
    with pytest.raises(IntegrityError, match=r"lacks 1 of its weights \(model\.layers\.1\.mlp\.down_proj"):
        loading.load_model(model, loading.locate(model), Quantization(), device=torch.device("cpu"))


def test_a_base_that_drops_activations_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"attention_dropout": 0.1}))
    model = Model(repo=str(folder))
    with pytest.raises(DataError, match=r"attention_dropout=0\.1"):
        loading.load_model(model, loading.locate(model), Quantization(), device=CPU)


def test_what_a_run_notes_of_its_base_changes_with_any_weight(folder: Path) -> None:
    model = Model(repo=str(folder))
    before = loading.base_identity(loading.locate(model))
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    assert loading.base_identity(loading.locate(model)) != before
