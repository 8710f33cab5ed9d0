"""`torchrun -m tests.training.sharded WORD...`: a training whose model torch's own FSDP2 divides, on CPUs.

With one process nothing is divided. Model, loss, looks and saving are those of a training: only the loop
over three steps is written out, because Accelerate would drop its FSDP settings on a CPU.
"""

import os
import sys
from functools import partial

import torch
import torch.distributed as dist
from rich.console import Console
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers import TrainerControl

from kalign import files
from kalign.config import Recipe, compose
from kalign.models import loading, promises
from kalign.runs import Run
from kalign.training import arguments, checkpoints, dpo, guards, inputs
from kalign.training import ranks as waiting
from kalign.training.divided import part
from kalign.training.trainer import PairTrainer


def divide(trainer: PairTrainer) -> None:
    """What Accelerate's FSDP2 does to the model, and the Trainer's own mark that it is done."""
    mesh = dist.device_mesh.init_device_mesh("cpu", (dist.get_world_size(),))
    trained = checkpoints.trained_weights(trainer.model)
    for layer in trainer.model.get_base_model().model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(trainer.model, mesh=mesh)
    dist.fsdp.register_fsdp_forward_method(trainer.model, "generate")
    trainer.is_fsdp_enabled = True
    weights = [weight for weight in trainer.model.parameters() if weight.requires_grad]
    assert all(isinstance(weight, DTensor) for weight in weights)
    assert sum(part(weight).numel() for weight in weights) < trained


def learn(trainer: PairTrainer) -> list[float]:
    trained = [weight for weight in trainer.model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    batch = trainer.data_collator([trainer.train_dataset[place] for place in range(4)])
    finite = partial(guards.FiniteGradients().on_pre_optimizer_step, trainer.args, trainer.state)
    losses = []
    for _ in range(3):
        loss = trainer.compute_loss(trainer.model, batch)
        loss.backward()
        finite(TrainerControl(), model=trainer.model)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def train(recipe: Recipe, run: Run) -> None:
    args = arguments.dpo_config(recipe, run)
    ranks = arguments.connected(recipe)
    located = loading.locate(recipe.model)
    chat = promises.load_chat(recipe.model, located)
    pairs = None
    if ranks.is_main_process:
        pairs = inputs.prepare(recipe, run, located, chat, Console(quiet=True))
    waiting.wait()
    trainer = dpo._trainer(recipe, run, args, located, chat)
    weights = checkpoints.trained_weights(trainer.model)
    trainer.model.train()
    if ranks.num_processes > 1:
        divide(trainer)
    losses = learn(trainer)
    before, after = dpo.looks_together(recipe, run, trainer, chat, pairs)
    trainer.save_model(str(run.path / "checkpoint"))
    if ranks.is_main_process:
        for folder in (run.adapter, run.path / "checkpoint"):
            checkpoints.require_whole(folder, weights)
    waiting.wait()
    looks = [[look.scores.chosen_logps, look.scores.rejected_logps, look.said] for look in (before, after)]
    kind = next(type(weight).__name__ for weight in trainer.model.parameters() if weight.requires_grad)
    told = {"ranks": dist.get_world_size(), "weights": kind, "losses": losses, "looks": looks}
    files.write_json(run.path / f"told-{os.environ['RANK']}.json", told)
    dist.destroy_process_group()


def main(words: list[str]) -> None:
    recipe = compose.load(words)
    dpo.in_folder(
        recipe, Console(quiet=True), train=lambda run: train(recipe, run), finished=lambda run: None
    )


if __name__ == "__main__":
    main(sys.argv[1:])
