"""The seams into TRL: each canary fails when an upgrade stops calling what kalign puts there."""

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer

from kalign.config import Loss, training
from kalign.errors import NumericError
from kalign.training import guards
from kalign.training.trainer import Epochs, PairTrainer, StepOrder

ROWS = [
    {"prompt_ids": [1, 4, 30 + n, 5], "chosen_ids": [40 + n, 50 + n, 2], "rejected_ids": [70 + n, 2]}
    for n in range(12)
]


def trainer(small_model: Path, out: Path, *, base: Any = None, **options: Any) -> PairTrainer:
    order = StepOrder(len(ROWS), pairs_per_step=4, seed=1)
    args = DPOConfig(
        output_dir=str(out),
        **{
            "max_steps": 2,
            "per_device_train_batch_size": 2,
            "gradient_accumulation_steps": 2,
            "learning_rate": 1e-3,
            "bf16": False,
            "use_cpu": True,
            "gradient_checkpointing": False,
            "max_length": None,
            "disable_dropout": False,
            "report_to": "none",
            "save_strategy": "no",
            "logging_steps": 1,
            "disable_tqdm": True,
            **options,
        },
    )
    return PairTrainer(
        base or AutoModelForCausalLM.from_pretrained(small_model, dtype=torch.float32),
        args=args,
        train_dataset=Dataset.from_list(ROWS),
        eval_dataset=Dataset.from_list(ROWS[:3]),
        processing_class=AutoTokenizer.from_pretrained(small_model),
        peft_config=LoraConfig(r=4, lora_dropout=0.1, target_modules=["q_proj"], task_type="CAUSAL_LM"),
        callbacks=[Epochs(order)],
        order=order,
    )


def test_every_epoch_is_shuffled_anew_and_sees_every_pair() -> None:
    order = StepOrder(10, pairs_per_step=4, seed=1)
    first = list(order)
    order.epoch = 1
    second = list(order)
    assert first != second
    for epoch in (first, second):
        assert len(epoch) == len(order) == 12
        assert set(epoch) == set(range(10))
        assert epoch[10:] == epoch[:2]


def test_fewer_pairs_than_a_step_are_repeated_until_it_is_full() -> None:
    order = StepOrder(3, pairs_per_step=8, seed=1)
    assert sorted(list(order).count(pair) for pair in range(3)) == [2, 3, 3]
    assert "each is seen 2 or 3 times an epoch" in order.sentence()
    assert "each is seen 4 times an epoch" in StepOrder(2, pairs_per_step=8, seed=1).sentence()
    assert StepOrder(3, pairs_per_step=2, seed=1).sentence().startswith("1 of them are seen twice")
    assert StepOrder(8, pairs_per_step=8, seed=1).sentence() == ""


def test_canary_trl_trains_on_our_tokens_in_our_order(small_model: Path, tmp_path: Path) -> None:
    made = trainer(small_model, tmp_path)
    assert made.train_dataset[0] == ROWS[0]
    expected = list(made.order)
    seen: list[list[int]] = []
    collate = made.data_collator

    def watching(rows: list[dict[str, list[int]]]) -> Any:
        seen.append([row["prompt_ids"][2] - 30 for row in rows])
        return collate(rows)

    made.data_collator = watching
    made.train()
    assert [pair for batch in seen for pair in batch][:8] == expected[:8]


def test_canary_stock_trl_would_not_take_our_tokens(small_model: Path, tmp_path: Path) -> None:
    """If this fails, TRL accepts tokenised columns, and the private seam can go."""
    with pytest.raises(KeyError, match="chosen"):
        DPOTrainer(
            AutoModelForCausalLM.from_pretrained(small_model),
            args=DPOConfig(output_dir=str(tmp_path), bf16=False, use_cpu=True, report_to="none"),
            train_dataset=Dataset.from_list(ROWS),
            processing_class=AutoTokenizer.from_pretrained(small_model),
        )


def test_canary_every_loss_passes_the_guard(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trainer(small_model, tmp_path)
    calls = 0
    compute = DPOTrainer.compute_loss

    def counting(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        loss = compute(*arguments, **options)
        return loss * float("nan") if calls == 3 else loss

    monkeypatch.setattr(DPOTrainer, "compute_loss", counting)
    with pytest.raises(NumericError, match="the loss is nan after step 1"):
        made.train()


@pytest.mark.parametrize("name", training.LOSS_TYPES)
def test_the_first_loss_is_what_trl_computes_before_any_step(
    name: str, small_model: Path, tmp_path: Path
) -> None:
    made = trainer(
        small_model, tmp_path, label_smoothing=0.1 if name in training.SMOOTHED_LOSSES else 0.0, beta=0.2
    )
    made.loss_types = [name]
    batch = made.data_collator(ROWS[:4])
    computed = made.compute_loss(made.model.eval(), batch).item()
    expected = guards.first_loss(Loss(loss_type=name, beta=0.2))
    if expected is None:
        assert name in ("exo_pair", "discopop", "sft")
    else:
        assert computed == pytest.approx(expected, rel=1e-5)


def test_the_dropout_that_was_asked_for_acts(small_model: Path, tmp_path: Path) -> None:
    made = trainer(small_model, tmp_path)
    rates = {module.p for module in made.model.modules() if isinstance(module, torch.nn.Dropout)}
    assert rates == {0.1}


def test_adapters_on_a_quantised_base_keep_float32_weights(small_model: Path, tmp_path: Path) -> None:
    from transformers import BitsAndBytesConfig

    order = StepOrder(len(ROWS), pairs_per_step=4, seed=1)
    quantised = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32
    )
    made = PairTrainer(
        AutoModelForCausalLM.from_pretrained(
            small_model, quantization_config=quantised, device_map={"": "cpu"}
        ),
        args=DPOConfig(output_dir=str(tmp_path), bf16=False, use_cpu=True, report_to="none"),
        train_dataset=Dataset.from_list(ROWS),
        processing_class=AutoTokenizer.from_pretrained(small_model),
        peft_config=LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM"),
        order=order,
    )
    assert {weight.dtype for weight in made.model.parameters() if weight.requires_grad} == {torch.float32}


def test_small_steps_move_every_weight_of_an_adapter_on_a_quantised_base(
    small_model: Path, tmp_path: Path
) -> None:
    """In bfloat16, where TRL keeps them, 2 of 100 would have moved."""
    from transformers import BitsAndBytesConfig

    quantised = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32
    )
    base = AutoModelForCausalLM.from_pretrained(
        small_model, quantization_config=quantised, device_map={"": "cpu"}
    )
    made = trainer(small_model, tmp_path, base=base, max_steps=8, learning_rate=5e-6)
    before = {name: weight.clone() for name, weight in made.model.named_parameters() if "lora_A" in name}
    made.train()
    moved = [(made.model.get_parameter(name) != weight).float().mean() for name, weight in before.items()]
    assert before and min(moved) > 0.99


def test_inputs_of_adapters_are_not_copied_and_no_bit_of_the_loss_changes(
    small_model: Path, tmp_path: Path
) -> None:
    base = AutoModelForCausalLM.from_pretrained(small_model, dtype=torch.bfloat16)
    made = trainer(small_model, tmp_path, base=base, bf16=True)
    made.model.eval()  # dropout draws other masks for other types
    layers = [module for module in made.model.modules() if isinstance(module, BaseTunerLayer)]
    for layer in layers:
        torch.nn.init.normal_(layer.lora_B["default"].weight)
        del layer.forward  # of kalign, which calls no module within
    seen: dict[bool, set[torch.dtype]] = {False: set(), True: set()}
    results = []
    assert all(layer.cast_input_dtype_enabled is False for layer in layers)
    for casting in (False, True):

        def note(_: Any, inputs: tuple[torch.Tensor], casting: bool = casting) -> None:
            seen[casting].add(inputs[0].dtype)

        hooks = [layer.lora_A["default"].register_forward_pre_hook(note) for layer in layers]
        for layer in layers:
            layer.cast_input_dtype_enabled = casting
        made.model.zero_grad()
        with made.accelerator.autocast():
            loss = made.compute_loss(made.model, made.data_collator(ROWS[:4]))
        loss.backward()
        results.append([loss.detach(), *(layer.lora_A["default"].weight.grad for layer in layers)])
        for hook in hooks:
            hook.remove()
    assert seen == {False: {torch.bfloat16}, True: {torch.float32}}
    (ours, *gradients), (theirs, *wanted) = results
    assert torch.equal(ours, theirs)
    for one, other in zip(gradients, wanted, strict=True):  # sums of bfloat16 in another order
        assert (one - other).norm() < 2e-2 * other.norm()


def test_held_out_pairs_are_all_scored_once_on_every_device(small_model: Path, tmp_path: Path) -> None:
    made = trainer(small_model, tmp_path, per_device_eval_batch_size=2)
    batches = [len(batch["input_ids"]) // 2 for batch in made.get_eval_dataloader()]
    assert batches == [2, 1]
    assert made.evaluate()["eval_loss"] == pytest.approx(0.693147, abs=1e-5)
