"""The seam to lm-evaluation-harness 0.4.13: its own task files and scores, over local copies of the data.

Its cache of answers is keyed by the prompt alone, so that one model would be given another's; it stays off.
"""

import importlib.metadata
import os
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from kalign.errors import ConfigError, DataError, ResourceError
from kalign.evaluation.asking import Weights

METRICS = ("acc", "exact_match")  # what a task is scored by, the first that it has
BUILDERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}
SPLITS = ("train", "validation", "dev", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One question of a task: what pairs it with another model's, its score, and what else is told of it."""

    task: str
    doc_hash: str
    prompt_hash: str
    correct: float
    told: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str]:
        """The question and the prompt it became."""
        return (self.task, self.doc_hash, self.prompt_hash)


def require() -> None:
    """Refuse what cannot be done without the harness.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        version()
    except importlib.metadata.PackageNotFoundError as wrong:
        raise ConfigError(
            "tasks of lm-evaluation-harness need it; pip install 'kalign[ability]', or choose another suite"
        ) from wrong


def version() -> str:
    """The harness' version."""
    return importlib.metadata.version("lm_eval")


def tasks(folder: str, group: str, local: Path | None, only: Collection[str]) -> dict[str, Any]:
    """The harness' own tasks by name, over the local copy if there is one.

    Args:
        folder: where in the harness the task files lie.
        group: what the names start with.
        local: a folder with SPLIT.jsonl (or .parquet, .csv), or with such a folder for each subset.
        only: the tasks wanted; empty: all.

    Raises:
        ConfigError: a task is unknown.
        DataError: the local copy lacks a task's data.
        ResourceError: there is no local copy, and the Hub cannot be reached.
    """
    index = _index(folder, group)
    if unknown := sorted(set(only) - index.keys()):
        raise ConfigError(f"tasks={unknown[0]} is unknown; there are {', '.join(sorted(index))}")
    found = {}
    for name in sorted(only or index):
        own = _settings(index[name])
        found[name] = made(own if local is None else own | _over(local, own))
    return found


def settings(folder: str, name: str) -> dict[str, Any]:
    """The harness' own settings of one task.

    Raises:
        KeyError: it has no such task.
    """
    return _settings(_index(folder, name)[name])


def made(settings: Mapping[str, Any]) -> Any:
    """The task that settings describe, with its data loaded.

    Raises:
        ResourceError: they cannot be loaded.
    """
    from lm_eval.api.task import ConfigurableTask

    try:
        return ConfigurableTask(config=dict(settings))
    except (OSError, ConnectionError, ValueError) as wrong:
        said = " ".join(str(wrong).split())[:200]
        raise ResourceError(
            f"{settings['task']}: its data cannot be loaded ({said}); give data=FOLDER, a local copy"
        ) from wrong


def _index(folder: str, group: str) -> dict[str, Any]:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    import lm_eval.tasks

    root = Path(lm_eval.tasks.__file__).parent / folder
    if not root.is_dir():
        return {}
    manager = lm_eval.tasks.TaskManager(include_defaults=False, include_path=[root])
    return {
        name: entry
        for name, entry in manager.task_index.items()
        if name.startswith(group) and entry.kind.name == "TASK"
    }


def _settings(entry: Any) -> dict[str, Any]:
    from lm_eval.tasks._yaml_loader import load_yaml

    found = dict(load_yaml(entry.yaml_path))
    for key in ("tag", "group", "task_list"):
        found.pop(key, None)
    return found


def score(
    weights: Weights,
    task: Any,
    *,
    adapter: bool,
    num_fewshot: int,
    chat_template: bool,
    told: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
) -> list[Sample]:
    """The harness' score of every question of a task, in its order.

    Args:
        told: what else is kept of one of its samples.

    Raises:
        DataError: the task is scored by nothing that a question has by itself.
    """
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    model = weights.model.get_base_model() if weights.subject.adapter else weights.model
    off = weights.subject.adapter is not None and not adapter
    with torch.inference_mode(), weights.model.disable_adapter() if off else nullcontext():
        wrapped = HFLM(pretrained=model, tokenizer=weights.chat.tokenizer, batch_size=weights.batch)
        scored = simple_evaluate(
            wrapped,
            tasks=[task],
            num_fewshot=num_fewshot,
            apply_chat_template=chat_template,
            use_cache=None,
            bootstrap_iters=0,
            log_samples=True,
            task_manager=TaskManager(include_defaults=False),  # else it reads its 13,000 files for nothing
        )
    [(name, samples)] = scored["samples"].items()
    metric = next((one for one in METRICS if one in samples[0]), None)
    if metric is None:
        raise DataError(f"{name} is scored by none of {', '.join(METRICS)}, so no question can be paired")
    return [
        Sample(
            task=name,
            doc_hash=one["doc_hash"],
            prompt_hash=one["prompt_hash"],
            correct=float(one[metric]),
            told=told(one) if told else {},
        )
        for one in samples
        if one["filter"] == samples[0]["filter"]  # a task may read one answer in several ways
    ]


def _over(local: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a task read the local copy, and nothing else about it."""
    subset = settings.get("dataset_name")
    place = local / str(subset) if subset and (local / str(subset)).is_dir() else local
    found = [path for path in sorted(place.iterdir()) if path.suffix in BUILDERS and path.stem in SPLITS]
    split_files = {path.stem: path for path in found}
    needed = {settings[key] for key in ("test_split", "fewshot_split") if settings.get(key)}
    if missing := sorted(needed - split_files.keys()):
        raise DataError(
            f"{settings['task']}: {place} has no {missing[0]}.jsonl, .parquet or .csv; put the split there"
        )
    kinds = {BUILDERS[path.suffix] for path in split_files.values()}
    if len(kinds) > 1:
        raise DataError(f"{place} mixes {', '.join(sorted(kinds))}; keep its splits in one format")
    return {
        "dataset_path": kinds.pop(),
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {split: str(path) for split, path in split_files.items()}},
    }
