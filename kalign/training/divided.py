"""Models that are divided among processes: the trained weights, gathered whole, and this process's part."""

from torch import Tensor, nn
from torch.distributed.tensor import DTensor


def gathered(model: nn.Module) -> dict[str, Tensor]:
    """The trained weights by name, whole and on the CPU; all processes have to ask together.

    Frozen weights stay where they are: a base that is divided may fit no single machine.
    """
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    if any(hasattr(weight, "ds_id") for weight in trained.values()):  # ZeRO-3 leaves them empty
        import deepspeed

        with deepspeed.zero.GatheredParameters(list(trained.values())):
            return {name: weight.detach().cpu().clone() for name, weight in trained.items()}
    return {name: _whole(weight.detach()).cpu() for name, weight in trained.items()}


def part(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
