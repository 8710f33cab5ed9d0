"""Running out of disk or memory, said in one sentence whatever library noticed it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from safetensors import SafetensorError

from kalign import files
from kalign.errors import ResourceError
from kalign.runs import Run

DISK_FULL = ("unexpected pos", "PytorchStreamWriter", "No space left", "File too large")


@contextmanager
def explained(run: Run) -> Iterator[None]:
    """Turn what libraries raise when disk or memory is full into a sentence with a remedy.

    Raises:
        ResourceError: it is full; the last checkpoint is untouched.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as wrong:
        raise ResourceError(
            "memory is not enough for one micro-batch; lower trainer.per_device_train_batch_size or "
            "data.max_length, or set trainer.gradient_checkpointing=true or adapter=qlora"
        ) from wrong
    except OSError as wrong:
        files.raise_if_full(wrong, run.path)
        raise
    except (RuntimeError, SafetensorError) as wrong:
        if any(words in str(wrong) for words in DISK_FULL):
            raise ResourceError(
                f"no space left to write {run.path}; the last checkpoint is untouched. Free some and run the "
                "same command again"
            ) from wrong
        raise
