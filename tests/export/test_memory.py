"""A merge takes the memory of a shard, not of the model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import LlamaConfig

pytestmark = pytest.mark.slow
SHARDS, LAYERS_IN_EACH = 5, 2
HIDDEN, WIDE, WORDS = 1024, 16384, 2048
MERGE = """
import json, resource, sys
from pathlib import Path
from types import SimpleNamespace
import torch
from kalign.config import Quantization
from kalign.export import merge
from kalign.export.prover import silent
torch.ones(8, 8) @ torch.ones(8, 8)
base, adapter, out = (Path(word) for word in sys.argv[1:])
origin = SimpleNamespace(
    base=base, name="big", run=SimpleNamespace(adapter=adapter), quantization=Quantization(), model=None)
what = merge.plan(origin, dtype=None, base="16bit", llama=False)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
merge.write(origin, what, out, silent)
print(json.dumps({"grown": 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)}))
"""


def big_model(folder: Path) -> None:
    """A Llama of one GB in bfloat16, in shards of a fifth."""
    folder.mkdir()
    layers = SHARDS * LAYERS_IN_EACH
    config = LlamaConfig(
        hidden_size=HIDDEN,
        intermediate_size=WIDE,
        num_hidden_layers=layers,
        num_attention_heads=8,
        vocab_size=WORDS,
        tie_word_embeddings=True,
    )
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(folder)
    where = {}
    for shard in range(SHARDS):
        weights = {}
        for layer in range(shard * LAYERS_IN_EACH, (shard + 1) * LAYERS_IN_EACH):
            for name, sizes in shapes().items():
                weights[f"model.layers.{layer}.{name}.weight"] = torch.zeros(sizes, dtype=torch.bfloat16)
        if shard == 0:
            weights["model.embed_tokens.weight"] = torch.zeros(WORDS, HIDDEN, dtype=torch.bfloat16)
            weights["model.norm.weight"] = torch.ones(HIDDEN, dtype=torch.bfloat16)
        name = f"model-{shard + 1:05}-of-{SHARDS:05}.safetensors"
        save_file(weights, folder / name)
        where |= dict.fromkeys(weights, name)
    index = {"metadata": {}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def shapes() -> dict[str, tuple[int, ...]]:
    square, up, down = (HIDDEN, HIDDEN), (WIDE, HIDDEN), (HIDDEN, WIDE)
    attention = {f"self_attn.{one}_proj": square for one in "qkvo"}
    norms = {"input_layernorm": (HIDDEN,), "post_attention_layernorm": (HIDDEN,)}
    return attention | norms | {"mlp.gate_proj": up, "mlp.up_proj": up, "mlp.down_proj": down}


def big_adapter(folder: Path) -> None:
    folder.mkdir()
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 4, "init_lora_weights": True}
    (folder / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    weights = {}
    for layer in range(SHARDS * LAYERS_IN_EACH):
        for name, sizes in shapes().items():
            if len(sizes) == 2:
                start = f"base_model.model.model.layers.{layer}.{name}"
                weights[f"{start}.lora_A.weight"] = torch.ones(4, sizes[1])
                weights[f"{start}.lora_B.weight"] = torch.ones(sizes[0], 4)
    save_file(weights, folder / "adapter_model.safetensors")


def test_merging_a_gigabyte_takes_less_than_two_of_its_shards(tmp_path: Path) -> None:
    big_model(tmp_path / "base")
    big_adapter(tmp_path / "adapter")
    (tmp_path / "out").mkdir()
    sizes = [path.stat().st_size for path in (tmp_path / "base").glob("*.safetensors")]
    assert sum(sizes) > 2**30
    words = [str(tmp_path / name) for name in ("base", "adapter", "out")]
    done = subprocess.run([sys.executable, "-c", MERGE, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1])["grown"] < 2 * max(sizes)
    assert sum(path.stat().st_size for path in (tmp_path / "out").glob("*.safetensors")) == pytest.approx(
        sum(sizes), rel=1e-3
    )
