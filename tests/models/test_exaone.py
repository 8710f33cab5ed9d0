"""EXAONE 3.5 from a checkpoint in the vendor's layout, against a forward pass written from the published
architecture."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig

from kalign.config import Model, Quantization
from kalign.errors import IntegrityError
from kalign.models import exaone, loading

CPU = torch.device("cpu")
IDS = torch.randint(0, 400, (2, 40), generator=torch.Generator().manual_seed(3))
CONFIG = {
    "model_type": "exaone",
    "architectures": ["ExaoneForCausalLM"],
    "auto_map": {
        "AutoConfig": "configuration_exaone.ExaoneConfig",
        "AutoModelForCausalLM": "modeling_exaone.ExaoneForCausalLM",
    },
    "vocab_size": 400,
    "hidden_size": 64,
    "num_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 128,
    "activation_function": "silu",
    "layer_norm_epsilon": 1e-5,
    "max_position_embeddings": 512,
    "rope_theta": 1000000.0,
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    },
    "embed_dropout": 0.0,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "pad_token_id": 0,
    "eos_token_id": 361,
}


def shapes(tied: bool) -> dict[str, tuple[int, ...]]:
    """The names and shapes of the vendor's weights."""
    hidden, inner, key_value, words = 64, 128, 32, 400
    found: dict[str, tuple[int, ...]] = {"transformer.wte.weight": (words, hidden)}
    for layer in range(2):
        found |= {
            f"transformer.h.{layer}.{name}.weight": shape
            for name, shape in {
                "ln_1": (hidden,),
                "attn.attention.q_proj": (hidden, hidden),
                "attn.attention.k_proj": (key_value, hidden),
                "attn.attention.v_proj": (key_value, hidden),
                "attn.attention.out_proj": (hidden, hidden),
                "ln_2": (hidden,),
                "mlp.c_fc_0": (inner, hidden),
                "mlp.c_fc_1": (inner, hidden),
                "mlp.c_proj": (hidden, inner),
            }.items()
        }
    found["transformer.ln_f.weight"] = (hidden,)
    return found if tied else found | {"lm_head.weight": (words, hidden)}


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def vendor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as the vendor lays it out, with random weights and with code that must not run."""
    folder = tmp_path_factory.mktemp("exaone")
    chance = torch.Generator().manual_seed(11)
    weights = {
        name: torch.randn(shape, generator=chance) * (0.3 if len(shape) > 1 else 1.0)
        for name, shape in shapes(request.param).items()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    settings = CONFIG | {"tie_word_embeddings": request.param}
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    for module in ("configuration_exaone", "modeling_exaone"):
        (folder / f"{module}.py").write_text("raise SystemExit('the vendor’s code ran')", encoding="utf-8")
    return folder


def loaded(folder: Path, quantization: Quantization | None = None) -> Any:
    model = Model(repo=str(folder), dtype="float32")
    return loading.load_model(model, loading.locate(model), quantization or Quantization(), device=CPU).eval()


def frequencies(settings: dict[str, Any]) -> Tensor:
    """RoPE's inverse frequencies in Llama 3's scaling: long waves slowed, short kept, others blended."""
    scaling = settings["rope_scaling"]
    factor, low, high = scaling["factor"], scaling["low_freq_factor"], scaling["high_freq_factor"]
    original, width = scaling["original_max_position_embeddings"], settings["head_dim"]
    scaled = []
    for pair in range(width // 2):
        frequency = settings["rope_theta"] ** (-2 * pair / width)
        wave = 2 * math.pi / frequency
        if wave > original / low:
            frequency /= factor
        elif wave > original / high:
            share = (original / wave - low) / (high - low)
            frequency = (1 - share) * frequency / factor + share * frequency
        scaled.append(frequency)
    return torch.tensor(scaled)


def published(folder: Path, ids_BL: Tensor) -> Tensor:
    """The logits by the published architecture, from the vendor's names alone: (B, L, words)."""
    weights = load_file(folder / "model.safetensors")
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    heads, width = settings["num_attention_heads"], settings["head_dim"]
    groups = heads // settings["num_key_value_heads"]
    length = ids_BL.shape[1]
    angles = torch.outer(torch.arange(length).float(), frequencies(settings))
    cos, sin = torch.cat([angles.cos()] * 2, -1), torch.cat([angles.sin()] * 2, -1)

    def norm(x: Tensor, name: str) -> Tensor:
        return (
            x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * weights[f"transformer.{name}.weight"]
        )

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ weights[f"transformer.{name}.weight"].T

    def split(x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, width)).transpose(1, 2)

    def rotated(x: Tensor) -> Tensor:
        first, second = x.chunk(2, -1)
        return x * cos + torch.cat([-second, first], -1) * sin

    x = weights["transformer.wte.weight"][ids_BL]
    later = torch.ones(length, length, dtype=torch.bool).triu(1)
    for layer in range(settings["num_layers"]):
        here = f"h.{layer}"
        y = norm(x, f"{here}.ln_1")
        q = rotated(split(linear(y, f"{here}.attn.attention.q_proj")))
        k = rotated(split(linear(y, f"{here}.attn.attention.k_proj"))).repeat_interleave(groups, 1)
        v = split(linear(y, f"{here}.attn.attention.v_proj")).repeat_interleave(groups, 1)
        attended = (q @ k.transpose(-1, -2) / math.sqrt(width)).masked_fill(later, -torch.inf).softmax(-1) @ v
        x = x + linear(attended.transpose(1, 2).flatten(2), f"{here}.attn.attention.out_proj")
        y = norm(x, f"{here}.ln_2")
        gate = linear(y, f"{here}.mlp.c_fc_0")
        x = x + linear(gate * gate.sigmoid() * linear(y, f"{here}.mlp.c_fc_1"), f"{here}.mlp.c_proj")
    head = weights.get("lm_head.weight", weights["transformer.wte.weight"])
    return norm(x, "ln_f") @ head.T


def test_the_logits_are_those_of_the_published_architecture(vendor: Path) -> None:
    with torch.no_grad():
        found = loaded(vendor)(input_ids=IDS).logits
    wanted = published(vendor, IDS)
    assert wanted.std() > 1  # the comparison could fail
    torch.testing.assert_close(found, wanted, atol=2e-4, rtol=1e-4)
    assert (found - wanted).mean().abs() < 1e-6


def test_the_published_forward_depends_on_the_scaling_of_rope(vendor: Path, tmp_path: Path) -> None:
    """Otherwise the comparison above would say nothing about it."""
    (tmp_path / "model.safetensors").write_bytes((vendor / "model.safetensors").read_bytes())
    settings = json.loads((vendor / "config.json").read_text(encoding="utf-8"))
    settings["rope_scaling"]["factor"] = 1.0
    (tmp_path / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    assert (published(tmp_path, IDS) - published(vendor, IDS)).abs().max() > 0.1


def test_what_is_written_is_what_was_read_name_by_name_and_bit_by_bit(vendor: Path, tmp_path: Path) -> None:
    loaded(vendor).save_pretrained(tmp_path)
    before, after = load_file(vendor / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    written = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    kept = {key: value for key, value in CONFIG.items() if key not in ("auto_map", "embed_dropout")}
    assert kept.items() <= written.items()
    llama = {"num_hidden_layers", "hidden_act", "rms_norm_eps", "rope_parameters"}
    assert not llama & written.keys()


def test_each_weight_is_held_in_four_bits_under_llamas_name(vendor: Path) -> None:
    quantised = loaded(vendor, Quantization(load_in_4bit=True, bnb_4bit_compute_dtype="float32"))
    weights = load_file(vendor / "model.safetensors")
    pairs = {
        "self_attn.q_proj": "attn.attention.q_proj",
        "self_attn.k_proj": "attn.attention.k_proj",
        "self_attn.v_proj": "attn.attention.v_proj",
        "self_attn.o_proj": "attn.attention.out_proj",
        "mlp.gate_proj": "mlp.c_fc_0",
        "mlp.up_proj": "mlp.c_fc_1",
        "mlp.down_proj": "mlp.c_proj",
    }
    for layer in range(2):
        for llama, name in pairs.items():
            held = quantised.model.layers[layer].get_submodule(llama).weight
            assert held.quant_state.quant_type == "nf4"
            unpacked = dequantize_4bit(held.data, held.quant_state)
            original = weights[f"transformer.h.{layer}.{name}.weight"]
            assert (unpacked - original).norm() < 0.15 * original.norm()


def test_the_end_of_turn_stops_generation_and_ties_are_kept(vendor: Path) -> None:
    model = loaded(vendor)
    tied = json.loads((vendor / "config.json").read_text(encoding="utf-8"))["tie_word_embeddings"]
    assert model.generation_config.eos_token_id == 361
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied


def test_the_vendors_code_is_not_even_asked_about(vendor: Path) -> None:
    assert type(AutoConfig.from_pretrained(vendor)) is exaone.ExaoneConfig
    assert type(loaded(vendor)) is exaone.ExaoneForCausalLM


def test_pickles_beside_it_are_refused_all_the_same(vendor: Path) -> None:
    pickle = vendor / "pytorch_model.bin"
    pickle.write_bytes(b"\x80\x04")
    with pytest.raises(IntegrityError, match=r"pytorch_model\.bin"):
        loading.locate(Model(repo=str(vendor)))
    pickle.unlink()
