"""`torchrun -m tests.training.sharded MODEL OUT`: three DPO steps on a model that torch's own FSDP2 divides.

With one process nothing is divided. The model gets what a training gives it: adapters, TRL's patched forward,
log-probs by kalign's own function; the adapter is gathered from all ranks and saved by the first.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM
from trl.trainer.dpo_trainer import add_fused_lm_head

from kalign.training import checkpoints, held_out

ROWS = [
    ([5, 6, 7, 8], [9, 10, 11]),
    ([5, 6, 7], [12, 13]),
    ([14, 15], [16, 17, 18, 19]),
    ([20, 21], [22, 23]),
]


def main(model_folder: str, out: Path) -> None:
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    add_fused_lm_head(base, outputs=("log_probs",))
    model = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"]))
    weights = checkpoints.trained_weights(model)
    if dist.get_world_size() > 1:
        mesh = dist.device_mesh.init_device_mesh("cpu", (dist.get_world_size(),))
        for layer in base.model.layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        assert all(isinstance(weight, DTensor) for weight in trained)
        assert sum(weight.to_local().numel() for weight in trained) < weights
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=1e-2)
    with torch.no_grad():
        reference = held_out.answer_logps(model, ROWS, pad=0)
    for _ in range(3):
        gained = held_out.answer_logps(model, ROWS, pad=0) - reference
        loss = -torch.nn.functional.logsigmoid(gained[:2] - gained[2:]).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    whole = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    if dist.get_rank() == 0:
        model.save_pretrained(out, state_dict=get_peft_model_state_dict(model, state_dict=whole))
        checkpoints.require_whole(out, weights)
        print(f"ranks {dist.get_world_size()} loss {loss.item():.6f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
