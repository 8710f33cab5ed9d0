"""LLaMA-Factory's own training step, timed: `PYTHON llamafactory_arm.py ASKED.json TOLD.json`.

It is run by the Python of an environment that holds LLaMA-Factory, whose pins exclude kalign's, so it imports
nothing of kalign. ASKED holds the shape of the model, the file of its weights and adapter, the micro-batches
of one optimizer step, and how often to take it; TOLD gets what was measured.
"""

import json
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

IGNORED = -100  # a label that no loss reads


def main() -> None:
    """Read, time, write."""
    asked = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(1 if asked["device"] == "cpu" else torch.get_num_threads())
    trainer = build(asked)
    batches = [collated(rows, asked["device"]) for rows in asked["micro_batches"]]
    told: dict[str, Any] = {
        "versions": {name: version(name) for name in ("llamafactory", "trl", "transformers", "torch")}
    }
    with torch.no_grad(), trainer.compute_loss_context_manager():
        said = trainer.concatenated_forward(trainer.model, dict(batches[0]))
    told["logps"] = [*said["chosen_logps"].tolist(), *said["rejected_logps"].tolist()]
    told["executed"] = 0

    def count(_: Any, given: tuple[torch.Tensor, ...]) -> None:
        told["executed"] += given[0].numel()

    embeddings = trainer.model.get_base_model().get_input_embeddings()
    hook = embeddings.register_forward_pre_hook(count)
    told["peak_bytes"], told["loss"] = peak(trainer, batches, asked["device"])
    hook.remove()
    for _ in range(asked["warm_up"]):
        step(trainer, batches)
    told["seconds"] = [seconds(trainer, batches, asked["device"]) for _ in range(asked["steps"])]
    Path(sys.argv[2]).write_text(json.dumps(told), encoding="utf-8")


def build(asked: dict[str, Any]) -> Any:
    """LLaMA-Factory's trainer with its usual settings, on the weights and adapter that were asked for."""
    from llamafactory.hparams import FinetuningArguments  # type: ignore[import-not-found]  # is not here
    from llamafactory.train.dpo.trainer import CustomDPOTrainer  # type: ignore[import-not-found]
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import load_file
    from transformers import LlamaConfig, LlamaForCausalLM, TrainingArguments

    cuda = asked["device"] == "cuda"
    torch.set_default_dtype(torch.bfloat16 if cuda else torch.float32)
    with torch.device(asked["device"]):
        model = LlamaForCausalLM(LlamaConfig(**asked["model"], attn_implementation="sdpa"))
    torch.set_default_dtype(torch.float32)
    config = LoraConfig(r=asked["r"], target_modules=asked["target_modules"], task_type="CAUSAL_LM")
    adapted = get_peft_model(model, config)
    missing, unknown = adapted.load_state_dict(load_file(asked["weights"]), strict=False)
    assert not missing and not unknown, (missing, unknown)
    for weight in adapted.parameters():
        weight.data = weight.data.float() if weight.requires_grad else weight.data
    if cuda:  # its default
        model.gradient_checkpointing_enable({"use_reentrant": True})
        model.enable_input_require_grads()
    trainer = CustomDPOTrainer(
        model=adapted,
        ref_model=None,
        finetuning_args=FinetuningArguments(stage="dpo", pref_loss="sigmoid", pref_beta=0.1),
        processor=None,
        tokenizer=None,
        args=TrainingArguments(
            output_dir=tempfile.gettempdir(), bf16=cuda, use_cpu=not cuda, report_to="none", disable_tqdm=True
        ),
        data_collator=list,
    )
    trainer.create_optimizer()
    for group in trainer.optimizer.param_groups:
        group["lr"] = 0.0
    return trainer


def collated(rows: list[dict[str, list[int]]], device: str) -> dict[str, torch.Tensor]:
    """What its collator makes of pairs: all chosen rows, then all rejected ones, padded on the right to a
    multiple of 8."""
    texts = [(row["prompt_ids"], row[name]) for name in ("chosen_ids", "rejected_ids") for row in rows]
    longest = -(-max(len(prompt) + len(answer) for prompt, answer in texts) // 8) * 8
    made: dict[str, list[list[int]]] = {"input_ids": [], "attention_mask": [], "labels": []}
    for prompt, answer in texts:
        length, filler = len(prompt) + len(answer), longest - len(prompt) - len(answer)
        made["input_ids"].append(prompt + answer + [0] * filler)
        made["attention_mask"].append([1] * length + [0] * filler)
        made["labels"].append([IGNORED] * len(prompt) + answer + [IGNORED] * filler)
    return {name: torch.tensor(values, device=device) for name, values in made.items()}


def step(trainer: Any, batches: list[dict[str, torch.Tensor]]) -> float:
    """One optimizer step at a learning rate of nothing; the mean loss."""
    trainer.model.train()
    whole = 0.0
    for batch in batches:
        with trainer.compute_loss_context_manager():
            loss = trainer.compute_loss(trainer.model, dict(batch)) / len(batches)
        loss.backward()
        whole += float(loss.item())
    trainer.optimizer.step()
    trainer.model.zero_grad()
    trainer._stored_metrics.clear()
    return whole


def seconds(trainer: Any, batches: list[dict[str, torch.Tensor]], device: str) -> float:
    """Of the processor on a CPU, of the clock on a GPU."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    if device == "cuda":
        torch.cuda.synchronize()
    began = clock()
    step(trainer, batches)
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - began


def peak(trainer: Any, batches: list[dict[str, torch.Tensor]], device: str) -> tuple[int, float]:
    """The most bytes of tensors that a step adds to those that are there, or on a GPU, of all; and the
    loss."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        loss = step(trainer, batches)
        return torch.cuda.max_memory_allocated(), loss
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        loss = step(trainer, batches)
    now = most = 0
    events = seen.profiler.kineto_results.events()
    for event in sorted((one for one in events if one.name() == "[memory]"), key=lambda one: one.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most, loss


if __name__ == "__main__":
    main()
