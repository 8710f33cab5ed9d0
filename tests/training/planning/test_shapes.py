"""Counts of every real size, and the bytes that bitsandbytes and the layers really keep."""

import json
from pathlib import Path
from typing import Any

import bitsandbytes
import pytest
import torch
import yaml
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from kalign.config import Adapter, Model
from kalign.config.compose import load, root
from kalign.errors import ConfigError
from kalign.models import loading, shapes
from kalign.models.shapes import SIZES
from kalign.training.planning import memory
from kalign.training.planning.memory import Load, Sharding

PROJECTIONS = Adapter().target_modules
REAL = {  # the published totals of the repositories' weights
    "llama-3.1-8b": 8_030_261_248,
    "qwen2.5-7b": 7_615_616_512,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-0.5b": 494_032_768,
    "exaone-3.5-7.8b": 7_818_448_896,
    "exaone-3.5-2.4b": 2_405_327_360,
    "gemma-3-1b": 999_885_952,
    "gemma-3-4b": 4_300_079_472,
    "gemma-3-12b": 12_187_325_040,
    "ax-4.0-light": None,
    "kanana-1.5-8b": None,
    "kanana-1.5-2.1b": None,
}


def noted(name: str) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads((SIZES / f"{name}.json").read_text(encoding="utf-8"))
    return entry


def by_hand(config: dict[str, Any]) -> int:
    """The weights of a text model: embeddings, and for each layer its matrices, biases and norms."""
    text = config.get("text_config", config)
    hidden, middle = text["hidden_size"], text["intermediate_size"]
    layers = text.get("num_hidden_layers") or text["num_layers"]
    width = text.get("head_dim") or hidden // text["num_attention_heads"]
    query, keys = width * text["num_attention_heads"], width * text["num_key_value_heads"]
    gemma, qwen = text["model_type"] == "gemma3_text", text["model_type"] == "qwen2"
    norms = 4 * hidden + 2 * width if gemma else 2 * hidden
    biases = query + 2 * keys if qwen else 0
    layer = 2 * hidden * query + 2 * hidden * keys + 3 * hidden * middle + norms + biases
    embeddings = text["vocab_size"] * hidden * (1 if text["tie_word_embeddings"] else 2)
    return int(embeddings + layers * layer + hidden)


def test_the_table_holds_the_twelve_sizes_and_no_more() -> None:
    assert {path.stem for path in SIZES.glob("*.json")} == set(REAL)


@pytest.mark.parametrize("name", REAL)
def test_every_weight_of_a_real_size_is_counted(name: str) -> None:
    config = shapes.of_size(noted(name))
    shape = shapes.counted(config, "")
    on_meta = shapes.on_meta(config)
    assert shape.parameters == sum(weight.numel() for weight in on_meta.parameters())
    text = sum(
        weight.numel()
        for key, weight in on_meta.named_parameters()
        if "vision" not in key and "multi_modal" not in key
    )
    assert text == by_hand(noted(name)["config"])
    if REAL[name] is not None:
        assert shape.parameters == REAL[name]


@pytest.mark.parametrize("name", REAL)
def test_what_stays_unquantised_is_embeddings_norms_and_biases(name: str) -> None:
    config = shapes.of_size(noted(name))
    shape, model = shapes.counted(config, ""), shapes.on_meta(config)
    matrices = {
        id(part.weight): part.weight.numel()
        for key, part in model.named_modules()
        if type(part) is torch.nn.Linear and key != "lm_head"
    }
    assert shape.parameters - shape.kept == sum(matrices.values())


def test_every_shipped_model_has_its_size_in_the_table() -> None:
    for path in sorted((root("conf") / "model").glob("*.yaml")):
        model = Model(repo=yaml.safe_load(path.read_text(encoding="utf-8"))["repo"])
        if model.repo and "/" in model.repo:
            config, known_from = shapes.configuration(loading.locate(model))
            assert config.get_text_config().hidden_size
            assert "table of sizes" in known_from


def test_a_model_that_is_nowhere_is_refused_with_the_remedy() -> None:
    model = Model(repo="nobody/nothing")
    with pytest.raises(ConfigError, match="download its config.json"):
        shapes.configuration(loading.locate(model))


def test_the_adapter_of_the_paper_is_counted_by_hand() -> None:
    """r x (inputs + outputs) for each projection of Llama-3.1-8B's 32 layers."""
    config = shapes.of_size(noted("llama-3.1-8b"))
    adapted = shapes.adapted(config, {"r": 16, "target_modules": PROJECTIONS})
    pairs = [(4096, 4096), (4096, 1024), (4096, 1024), (4096, 4096), (4096, 14336), (4096, 14336)]
    assert adapted.trainable == 32 * 16 * sum(map(sum, [*pairs, (14336, 4096)])) == 41_943_040
    assert len(adapted.matrices) == 32 * 7


def test_the_adapter_of_gemma_leaves_its_vision_tower_alone() -> None:
    config = shapes.of_size(noted("gemma-3-4b"))
    regex = load(["recipe=gemma"]).adapter.target_modules
    assert len(shapes.adapted(config, {"r": 16, "target_modules": regex}).matrices) == 34 * 7


@pytest.mark.parametrize("double_quant", [True, False])
@pytest.mark.parametrize("size", [(512, 320), (64, 48)])
def test_the_bytes_of_four_bits_are_those_that_bitsandbytes_stores(
    double_quant: bool, size: tuple[int, int]
) -> None:
    weight = bitsandbytes.nn.Params4bit(
        torch.ones(size), requires_grad=False, compress_statistics=double_quant, quant_type="nf4"
    ).to("cpu")
    state = weight.quant_state
    stored = [weight.data, state.absmax, state.code]
    if double_quant:
        stored += [state.offset, state.state2.absmax, state.state2.code]
    bytes_ = sum(tensor.nbytes for tensor in stored)
    assert shapes.stored_4bit_bytes(size[0] * size[1], double_quant=double_quant) == bytes_


def kept(layers: int, *, family: str = "llama", trained: bool, dropout: float) -> tuple[int, Load]:
    """Bytes that saved-tensor hooks see for 37 tokens, weights and casts of weights left out, and the load
    that predicts them."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        family,
        vocab_size=64,
        hidden_size=96,
        intermediate_size=160,
        num_hidden_layers=layers,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=16,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    lora = {"r": 4, "lora_dropout": dropout, "target_modules": PROJECTIONS}
    adapted = shapes.adapted(config, lora)
    if trained:
        model = get_peft_model(model, LoraConfig(**lora, task_type="CAUSAL_LM"))
    else:
        model.requires_grad_(False)
        model.enable_input_require_grads()
    seen: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.numel() % 37 == 0:  # of tokens; no weight's size is a multiple of 37
            seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    ids = torch.arange(37)[None] % 64
    mask = torch.ones(1, 1, 37, 37, dtype=torch.bool).tril()  # as a padded batch has it: keys are repeated
    model.train()
    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
    ):
        output = model(input_ids=ids, attention_mask=mask, use_cache=False)
    total = sum(seen.values())
    del output
    return total, Load(
        shape=shapes.counted(config, ""),
        adapter=adapted,
        sharding=Sharding(),
        load_in_4bit=False,
        double_quant=False,
        weight_bytes=2,
        value_bytes=2,
        dropout=dropout > 0,
        gradient_checkpointing=False,
        optim="adamw_torch",
        pairs_at_once=1,
        pairs_scored_at_once=1,
        longest=37,
        scored=37,
    )


@pytest.mark.parametrize(
    ("family", "trained", "dropout"),
    [
        ("llama", False, 0.0),
        ("llama", True, 0.0),
        ("llama", True, 0.05),
        ("qwen2", True, 0.0),
        ("gemma3_text", True, 0.0),
    ],
)
def test_a_layer_keeps_what_the_account_says(family: str, trained: bool, dropout: float) -> None:
    """The difference between three and two layers, so that embeddings and head cancel."""
    three, load_ = kept(3, family=family, trained=trained, dropout=dropout)
    two, _ = kept(2, family=family, trained=trained, dropout=dropout)
    predicted = 37 * memory.layer_bytes_per_token(load_, trained=trained)
    if dropout:  # a CPU keeps the mask in float32, where CUDA keeps one byte
        inputs = sum(matrix.inputs for matrix in load_.adapter.matrices) // 3
        predicted += 37 * 3 * inputs
    assert three - two == pytest.approx(predicted, rel=0.06)


def test_a_folder_tells_its_own_architecture(small_model: Path) -> None:
    model = Model(repo=str(small_model))
    config, known_from = shapes.configuration(loading.locate(model))
    assert shapes.counted(config, known_from).hidden == 64
    assert known_from.startswith("config.json of")
