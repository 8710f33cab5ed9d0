"""Tasks of the harness over one's own rows: its own task where it has one, else one of ours in its terms."""

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kalign import files
from kalign.data import marking
from kalign.errors import DataError
from kalign.evaluation import harness
from kalign.evaluation.cultural.formats import Asked
from kalign.evaluation.harness import Sample

LONGEST = 64  # tokens of a short answer
NEGATIVE = ("biased", "known", "disambiguated")


def made(suite: str, asked: Sequence[Asked], folder: Path) -> dict[str, Any]:
    """The tasks by name, over rows that are written into `folder`.

    Raises:
        DataError: the harness has no task for what the rows say they are.
    """
    by_task: dict[str, list[Asked]] = {}
    for one in asked:
        by_task.setdefault(one.task, []).append(one)
    tasks = {}
    for name, some in by_task.items():
        path = folder / f"{name}.jsonl"
        rows = [{**one.fields, "told": {"parts": dict(one.parts), "family": one.family}} for one in some]
        files.write_jsonl(path, rows)
        short = name.rsplit("/", 1)[-1]
        settings = SETTINGS[suite](name) | {
            "task": short,
            "dataset_path": "json",
            "dataset_name": None,
            "dataset_kwargs": {"data_files": {"test": str(path)}},
            "test_split": "test",
            "fewshot_split": None,
        }
        tasks[short] = harness.made(settings)
    return tasks


def told(sample: Mapping[str, Any]) -> dict[str, Any]:
    """What a sample is reported by: its parts and family, and in BBQ which answer was chosen."""
    found: dict[str, Any] = dict(sample["doc"]["told"])
    if "amb_bias_score" in sample:
        _, biased, known, disambiguated = sample["amb_bias_score"]
        found |= dict(zip(NEGATIVE, map(float, (biased, known, bool(disambiguated))), strict=True))
    return found


def parts(samples: Sequence[Sample]) -> dict[str, dict[str, list[int]]]:
    """The places of the samples of each part, by what the parts divide."""
    found: dict[str, dict[str, list[int]]] = {}
    for place, one in enumerate(samples):
        for divides, part in one.told["parts"].items():
            found.setdefault(divides, {}).setdefault(part, []).append(place)
    return {divides: dict(sorted(some.items())) for divides, some in found.items()}


def says(answer: str, accepted: Sequence[str]) -> bool:
    """Whether an answer holds one of the accepted ones, whatever their case; markers before it say nothing.

    >>> says("<geo>KR</geo>\\nIt is Kimchi.", ["kimchi", "rice"]), says("I do not know", ["kimchi"])
    (True, False)
    """
    plain = _plain(marking.strip_markers(answer))
    return any(_plain(one) in plain for one in accepted if _plain(one))


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).casefold().replace("-", " ").split())


def _multiple_choice(name: str) -> dict[str, Any]:
    return {
        "output_type": "multiple_choice",
        "doc_to_text": "{{prompt}}",
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }


def _normad(name: str) -> dict[str, Any]:
    return _multiple_choice(name) | {"doc_to_text": "{{prompt}}\nAnswer:"}


def _blend(name: str) -> dict[str, Any]:
    return _multiple_choice(name) | {"target_delimiter": ""}


def _short(name: str) -> dict[str, Any]:
    return {
        "output_type": "generate_until",
        "doc_to_text": "{{prompt}}",
        "doc_to_target": "{{answers[0]}}",
        "process_results": _right,
        "generation_kwargs": {"until": ["\n\n"], "do_sample": False, "max_gen_toks": LONGEST},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }


def _right(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    return {"exact_match": float(says(results[0], doc["answers"]))}


def _bbq(name: str) -> dict[str, Any]:
    return harness.settings("bbq", "bbq")


def _global_mmlu(name: str) -> dict[str, Any]:
    own = harness.settings("global_mmlu/default/en", "global_mmlu_en_other")
    del own["process_docs"]  # chooses one of the categories, which are asked alike
    return own


def _include(name: str) -> dict[str, Any]:
    language, _, task = name.partition("/")
    try:
        return harness.settings(f"include/default/{language}", task)
    except KeyError as wrong:
        raise DataError(
            f"lm-evaluation-harness has no task for the language and domain of some rows, {task}; leave them "
            "out, or choose others with language=NAME"
        ) from wrong


SETTINGS = {
    "normad": _normad,
    "bbq": _bbq,
    "global_mmlu": _global_mmlu,
    "include": _include,
    "blend": _blend,
    "blend_short": _short,
}
