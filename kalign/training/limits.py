"""Running out of disk, memory or processes, said in one sentence whatever library noticed it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from datasets import Dataset
from pyarrow import compute
from safetensors import SafetensorError
from transformers import PreTrainedConfig, PreTrainedModel

from kalign import files
from kalign.errors import ConfigError, DataError, Interrupted, ResourceError
from kalign.runs import Run

LOST = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "Timed out waiting",
)  # gloo's words
DISK_FULL = ("unexpected pos", "PytorchStreamWriter", "No space left", "File too large")


def require_positions(model: PreTrainedModel, *rows: Dataset, name: str) -> None:
    """Refuse rows that are longer than what the model was made for: it would read them and learn noise.

    Args:
        rows: with `prompt_ids`, and the ids of one or two answers.

    Raises:
        DataError: a prompt with its answer is.
    """
    if wrong := beyond_positions(model.config, max(map(_longest, rows)), name):
        raise DataError(wrong)


def beyond_positions(config: PreTrainedConfig, longest: int, name: str) -> str | None:
    """Why a row of `longest` tokens cannot be trained on, if the model was made for fewer."""
    room = getattr(config.get_text_config(), "max_position_embeddings", None)
    if room is None or longest <= room:
        return None
    return (
        f"the longest row has {longest} tokens, and {name} was made for {room} (max_position_embeddings "
        f"in its config.json); give data.max_length={room}, which says what becomes of longer ones"
    )


def _longest(rows: Dataset) -> int:
    """Tokens of the longest prompt with its longer answer."""
    table = rows.data
    lengths = {
        column: compute.list_value_length(table[column])
        for column in table.column_names
        if column.endswith("_ids")
    }
    prompts = lengths.pop("prompt_ids")
    longest = compute.max(compute.add(prompts, compute.max_element_wise(*lengths.values())))
    return int(longest.as_py() or 0)


@contextmanager
def explained(run: Run) -> Iterator[None]:
    """Turn what libraries raise when disk or memory is full, or another process is gone, into a sentence with
    a remedy.

    Raises:
        ConfigError: the optimizer's library is not installed.
        Interrupted: another process ended, or stood still for `trainer.ddp_timeout` seconds.
        ResourceError: it is full; the last checkpoint is untouched.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as wrong:
        raise ResourceError(
            "memory is not enough for one micro-batch; lower trainer.per_device_train_batch_size (or "
            "trainer.tokens_per_micro_batch) or data.max_length, or set trainer.gradient_checkpointing=true "
            "or adapter=qlora"
        ) from wrong
    except ImportError as wrong:
        said = " ".join(str(wrong).split())
        raise ConfigError(f"trainer.optim asks for what is not here: {said}; or take another one") from wrong
    except OSError as wrong:
        files.raise_if_full(wrong, run.path)
        raise
    except (RuntimeError, SafetensorError) as wrong:
        if dist.is_initialized() and any(words in str(wrong) for words in LOST):
            raise Interrupted(
                "another process of this training ended, or stood still for trainer.ddp_timeout seconds; "
                "what it said last tells why. The last checkpoint is whole, and the same command goes on "
                "from there"
            ) from wrong
        if any(words in str(wrong) for words in DISK_FULL):
            raise ResourceError(
                f"no space left to write {run.path}; the last checkpoint is untouched. Free some and run the "
                "same command again"
            ) from wrong
        raise
