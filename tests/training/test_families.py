"""Every family's twin through the whole way: tokens, LoRA and QLoRA training, saving, and loading again."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow.parquet
import pytest
import torch
from peft import PeftModel
from safetensors import safe_open

from kalign.config import Recipe, compose
from kalign.models import loading
from tests.conftest import Result, only_run, pair, write

pytestmark = pytest.mark.slow
Kalign = Callable[..., Result]
FAMILIES = ("exaone", "ax", "kanana", "qwen", "gemma", "llama")
SHORT = (
    "model.twin=true",
    "model.dtype=float32",
    "trainer.bf16=false",
    "trainer.max_steps=1",
    "trainer.pairs_per_step=2",
    "trainer.per_device_train_batch_size=2",
    "trainer.learning_rate=0.01",
    "trainer.warmup_steps=0",
    "trainer.eval_strategy=no",
    "trainer.save_steps=1",
    "evaluation.generations=0",
)
LORA = ("adapter=lora",)
QLORA = ("adapter=qlora", "adapter.quantization.bnb_4bit_compute_dtype=float32")


@pytest.fixture
def few_pairs(tmp_path: Path) -> Path:
    path = tmp_path / "few.jsonl"
    write(path, [pair(number) for number in range(10)])
    return path


def logps(recipe: Recipe, run: Path) -> tuple[list[float], list[float]]:
    """The log-probs of the held-out chosen answers, from what lies on disk: the base alone, and with its
    adapter."""
    located = loading.locate(recipe.model)
    base = loading.load_model(recipe.model, located, recipe.adapter.quantization, device=torch.device("cpu"))
    model = PeftModel.from_pretrained(base, run / "adapter").eval()
    rows = pyarrow.parquet.read_table(run / "pairs/eval.parquet").to_pylist()
    with torch.no_grad():
        with model.disable_adapter():
            alone = [logp(model, row) for row in rows]
        return alone, [logp(model, row) for row in rows]


def logp(model: PeftModel, row: dict[str, list[int]]) -> float:
    ids = torch.tensor([row["prompt_ids"] + row["chosen_ids"]])
    logps = model(input_ids=ids).logits[0, :-1].float().log_softmax(-1)
    each = logps.gather(1, ids[0, 1:, None])[:, 0]
    return float(each[len(row["prompt_ids"]) - 1 :].sum())


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


@pytest.mark.parametrize("adapter", [LORA, QLORA], ids=["lora", "qlora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_twin_trains_and_its_adapter_loads_back_as_it_was(
    family: str, adapter: tuple[str, ...], kalign_here: Kalign, few_pairs: Path
) -> None:
    words = [f"recipe={family}", f"data.path={few_pairs}", *SHORT, *adapter]
    done = kalign_here("train", *words)
    assert done.returncode == 0, done.stderr[-3000:]
    run = only_run(Path("runs"))
    recipe = compose.load(words)
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    chosen = result["held_out"]["chosen_logp"]
    before, after = logps(recipe, run)
    assert mean(before) == pytest.approx(chosen["before"]["value"], abs=2e-3)
    assert mean(after) == pytest.approx(chosen["after"]["value"], abs=2e-3)
    assert abs(mean(after) - mean(before)) > 0.05  # the adapter does something, so loading it could fail
    with safe_open(run / "adapter/adapter_model.safetensors", "pt") as weights:
        names = list(weights.keys())
        assert all(weights.get_tensor(name).abs().sum() > 0 for name in names)
    layers = 3 if family == "gemma" else 2
    assert len(names) == layers * 7 * 2  # A and B of seven projections in each layer of the language model
    assert not any("vision" in name for name in names)


def test_a_list_of_names_that_reaches_the_vision_tower_is_refused(
    kalign_here: Kalign, few_pairs: Path
) -> None:
    refused = kalign_here(
        "train", "recipe=gemma", f"data.path={few_pairs}", *SHORT, *LORA, "adapter.target_modules=[q_proj]"
    )
    assert refused.returncode == 2
    assert "vision_tower" in refused.stderr and "text never reaches" in refused.stderr


def test_a_cpu_is_told_what_a_twin_needs_on_it(kalign_here: Kalign, few_pairs: Path) -> None:
    refused = kalign_here("train", "recipe=llama", "model.twin=true", f"data.path={few_pairs}")
    if not torch.cuda.is_available():
        assert refused.returncode == 2
        assert "trainer.bf16=false model.dtype=float32" in refused.stderr


@pytest.mark.parametrize("family", FAMILIES)
def test_every_recipe_has_the_papers_settings(family: str) -> None:
    adapter = compose.load([f"recipe={family}"]).adapter
    assert (adapter.r, adapter.lora_alpha, adapter.lora_dropout) == (16, 16, 0.05)
    assert adapter.quantization.load_in_4bit and adapter.quantization.bnb_4bit_quant_type == "nf4"
    assert adapter.quantization.bnb_4bit_compute_dtype == "bfloat16"
    spelled = " ".join(adapter.targets())
    assert all(name in spelled for name in ("q", "k", "v", "o", "gate", "up", "down"))
