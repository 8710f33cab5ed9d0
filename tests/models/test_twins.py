"""Twins: the real class, the real names, the features that decide, and the same bytes each time."""

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from transformers import AutoModelForCausalLM, LlamaConfig

from kalign import files
from kalign.config import Model, compose
from kalign.errors import ConfigError, ResourceError
from kalign.models import families, heads, loading, twins
from tests.conftest import ROOT

CLASSES = {
    "ax": "Qwen2ForCausalLM",
    "exaone": "ExaoneForCausalLM",
    "exaone_2b": "ExaoneForCausalLM",
    "gemma": "Gemma3ForConditionalGeneration",
    "gemma_12b": "Gemma3ForConditionalGeneration",
    "gemma_1b": "Gemma3ForCausalLM",
    "kanana": "LlamaForCausalLM",
    "kanana_2b": "LlamaForCausalLM",
    "llama": "LlamaForCausalLM",
    "qwen": "Qwen2ForCausalLM",
    "qwen_1b": "Qwen2ForCausalLM",
    "qwen_500m": "Qwen2ForCausalLM",
}
TIED = {"exaone_2b", "gemma", "gemma_12b", "gemma_1b", "qwen_1b", "qwen_500m"}


def weights_of(name: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(twins.folder(name), dtype=torch.float32).eval()


def test_every_model_with_a_family_has_its_twin() -> None:
    named = {
        path.stem: compose.load(["recipe=tiny", f"model={path.stem}"]).model.family
        for path in (ROOT / "conf/model").glob("*.yaml")
    }
    assert {name: family for name, family in named.items() if family} == {
        name: name for name in families.names()
    }
    assert set(families.names()) == set(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_a_twin_has_the_class_and_the_ties_of_its_model(name: str) -> None:
    model = weights_of(name)
    assert type(model).__name__ == CLASSES[name]
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == (name in TIED)
    real = twins.config(families.read(name).size)
    assert real.get_text_config().tie_word_embeddings == (name in TIED)
    paths = {path for path, _ in model.named_modules()}
    inner = (
        "model.language_model.layers.1" if "vision_config" in families.read(name).size else "model.layers.1"
    )
    for projection in ("self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj"):
        assert f"{inner}.{projection}" in paths
    biased = model.get_submodule(f"{inner}.self_attn.q_proj").bias is not None
    assert biased == (CLASSES[name] == "Qwen2ForCausalLM")


def test_gemma_attends_locally_and_globally_and_has_a_vision_tower() -> None:
    model = weights_of("gemma")
    text = model.config.text_config
    assert set(text.layer_types) == {"sliding_attention", "full_attention"}
    assert text.rope_parameters["full_attention"]["rope_type"] == "linear"
    assert any("vision_tower" in path and path.endswith("q_proj") for path, _ in model.named_modules())
    ids = torch.randint(300, 2000, (1, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        local = model(input_ids=ids).logits
        for config in (text, model.model.language_model.config):
            config.sliding_window = 4096
        for layer in model.model.language_model.layers:
            layer.self_attn.sliding_window = 4096
        wide = model(input_ids=ids).logits
    torch.testing.assert_close(local[:, :8], wide[:, :8])  # within the window nothing changes
    assert (local - wide)[:, 20:].abs().max() > 1e-4


def test_a_twin_is_built_from_nothing_but_data_twice_the_same(tmp_path: Path) -> None:
    for name in ("exaone", "gemma"):
        built = []
        for attempt in ("first", "second"):
            torch.rand(7)  # whatever was drawn before
            out = tmp_path / name / attempt
            out.mkdir(parents=True)
            twins.build(families.read(name), out)
            built.append({path.name: files.sha256(path) for path in out.iterdir()})
        assert built[0] == built[1]


def test_building_a_twin_leaves_the_random_state_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    twins.build(families.read("qwen"), tmp_path)
    assert torch.equal(torch.rand(3), wanted)


def test_two_that_build_at_once_find_one_complete_twin(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    meet = threading.Barrier(2)
    found: list[Path] = []
    build, alone = twins.build, threading.Lock()

    def at_once(family: families.Family, out: Path) -> None:
        with alone:  # transformers sets torch's default type while it builds, for all threads
            build(family, out)
        meet.wait(timeout=60)  # both have built before either gives its folder the name

    monkeypatch.setattr(twins, "build", at_once)
    both = [threading.Thread(target=lambda: found.append(twins.folder("ax"))) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert found[0] == found[1]
    assert list((tmp_path / "kalign/twins").iterdir()) == [found[0]]
    assert (found[0] / "model.safetensors").is_file()


def test_a_cache_that_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ResourceError, match="set XDG_CACHE_HOME"):
        twins.folder("ax")


def test_an_unknown_family_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean exaone"):
        loading.locate(Model(family="exone", twin=True))


def test_llama_with_heads_of_its_own_width_loads_and_a_derived_width_must_divide() -> None:
    heads.allow_own_width()
    assert twins.config(families.read("kanana_2b").size).head_dim == 128
    with pytest.raises(StrictDataclassClassValidationError, match="no multiple"):
        LlamaConfig(hidden_size=64, num_attention_heads=6)
