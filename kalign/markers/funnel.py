"""Where the culture goes: shares, classes, countries and domains of the stages of training, side by side."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kalign import yaml_files
from kalign.config import Source, words
from kalign.config.rules import one_of
from kalign.data import tags
from kalign.errors import ConfigError
from kalign.markers import decomposition, geography, languages, schema, tagging, tally
from kalign.markers.corpora import STAGES, Corpus
from kalign.markers.error_rates import ErrorRates
from kalign.markers.tagger import Tagger
from kalign.markers.tally import Tally
from kalign.statistics import wilson
from kalign.statistics.estimates import Z

KEYS = ("path", "map", "tags", "revision", "subset", "split", "columns", "values", "share", "seed")


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One data set of a stage: a corpus to be tagged, or the file of its tags."""

    stage: str
    name: str
    corpus: Corpus | None
    tags: Path | None

    def check(self) -> None:
        """Raise ConfigError where it contradicts itself."""
        if (self.corpus is None) == (self.tags is None):
            raise ConfigError(f"stages.{self.stage}.{self.name} needs path or tags, and not both")
        if self.corpus:
            self.corpus.check()


def read(path: Path) -> list[Dataset]:
    """The data sets that a file names, stage by stage, in its order; the first stage is what others are
    compared with.

    Raises:
        DataError: the file is no YAML.
        ConfigError: it has not the shape {stages: {STAGE: {NAME: {path: ...}}}}, or names something unknown.
    """
    content = yaml_files.read(path)
    stages = content.get("stages") if isinstance(content, dict) else None
    if not isinstance(stages, dict) or not stages:
        raise ConfigError(f"{path} names no stages; write stages: {{sft: {{mine: {{path: FILE}}}}}}")
    found = []
    for stage, datasets in stages.items():
        one_of(f"{path}: stages", str(stage), STAGES)
        if not isinstance(datasets, dict) or not datasets:
            raise ConfigError(
                f"{path}: stages.{stage} names no data set; write {stage}: {{mine: {{path: FILE}}}}"
            )
        for name, block in datasets.items():
            found.append(_dataset(str(stage), str(name), block))
    return found


def _dataset(stage: str, name: str, block: Any) -> Dataset:
    where = f"stages.{stage}.{name}"
    if "/" in name:  # it names the folder of its tags
        raise ConfigError(f"{where}: a data set's name has no '/'; write another one")
    if not isinstance(block, dict):
        raise ConfigError(f"{where} must be a mapping, such as {{path: FILE, columns: {{text: prompt}}}}")
    for key in block:
        one_of(f"a key of {where}", str(key), KEYS)
    mapped = column_map(str(block["map"])) if "map" in block else {}
    merged = {**mapped, **block}
    for key in ("columns", "values"):
        if not isinstance(block.get(key) or {}, dict):
            raise ConfigError(f"{where}.{key} must be a mapping, such as {{text: prompt}}")
        merged[key] = {**(mapped.get(key) or {}), **(block.get(key) or {})}
    corpus = None
    if merged.get("path"):
        corpus = Corpus(
            name=name,
            stage=stage,
            source=Source(
                path=str(merged["path"]),
                revision=merged.get("revision"),
                subset=merged.get("subset"),
                split=merged.get("split", "train"),
            ),
            columns=merged["columns"],
            values=merged["values"],
            share=words.number(f"{where}.share", str(merged.get("share", 1.0))),
            seed=words.count(f"{where}.seed", str(merged.get("seed", 42)), least=0),
        )
    dataset = Dataset(
        stage=stage, name=name, corpus=corpus, tags=Path(merged["tags"]) if merged.get("tags") else None
    )
    dataset.check()
    return dataset


def column_map(name: str) -> dict[str, Any]:
    """A shipped column map: path, columns and values of a known data set.

    Raises:
        ConfigError: there is none of that name.
    """
    folder = schema.TABLES / "maps"
    one_of("map", name, tuple(sorted(path.stem for path in folder.glob("*.yaml"))))
    return dict(yaml_files.read(folder / f"{name}.yaml"))


def tagged(datasets: list[Dataset], tagger: Tagger, out: Path) -> dict[tuple[str, str], Tally]:
    """Tag whatever is not tagged yet, below `out`, and count each data set.

    Raises:
        KalignError: a data set cannot be read, or its tags are those of something else.
    """
    found = {}
    for dataset in datasets:
        path = dataset.tags
        if dataset.corpus:
            path = tagging.tag(dataset.corpus, tagger, out / "tags" / f"{dataset.stage}-{dataset.name}")
        assert path is not None  # checked: one of the two is there, and no shard was asked for
        found[(dataset.stage, dataset.name)] = tally.of(tagging.rows(path))
    return found


def document(tallies: Mapping[tuple[str, str], Tally], errors: ErrorRates | None = None) -> dict[str, Any]:
    """All that a funnel says, as plain values: see `kalign funnel --json`.

    Args:
        errors: how often the tagger is wrong, by which shares are corrected too.
    """
    stages: dict[str, Tally] = {}
    for (stage, _), counted in tallies.items():
        stages.setdefault(stage, Tally()).join(counted)
    mentions = [total for each in stages.values() if (total := sum(each.geo.values()))]
    equal = min(mentions, default=None)
    base = next(iter(stages))
    told = []
    for stage, counted in stages.items():
        datasets = {name: each for (where, name), each in tallies.items() if where == stage}
        told.append(
            {
                "stage": stage,
                **_shares(counted, errors),
                "corrected_retention": _corrected_retention(stages[base], counted, errors),
                "macro_share": _macro(datasets),
                "retention": _retention(stages[base], counted),
                "macro_retention": _ratio(_macro(datasets), _macro(_of_stage(tallies, base))),
                "geography": geography.summary(counted.geo, equal=equal),
                "languages": languages.curve(counted.languages),
                "change_since_first": _change(stages[base], counted) if stage != base else None,
                "domains": _by_value(counted.domains),
                "tasks": _by_value(counted.tasks),
                "datasets": {name: _shares(each, errors) for name, each in datasets.items()},
            }
        )
    audited = asdict(errors) if errors else None
    return {"first_stage": base, "rarefied_to": equal, "audit": audited, "stages": told}


def _of_stage(tallies: Mapping[tuple[str, str], Tally], stage: str) -> dict[str, Tally]:
    return {name: each for (where, name), each in tallies.items() if where == stage}


def _shares(counted: Tally, errors: ErrorRates | None) -> dict[str, Any]:
    share = counted.share()
    corrected = errors.corrected(counted.cultural, counted.ok) if errors else None
    return {
        "texts": sum(counted.statuses.values()),
        "not_understood": {k: v for k, v in sorted(counted.statuses.items()) if k != tags.OK},
        "cultural": counted.cultural,
        "share": asdict(share) if share else None,
        "corrected_share": asdict(corrected) if corrected else None,
        "classes": {
            name: {
                "texts": counted.classes[name],
                "of_cultural": asdict(wilson(counted.classes[name], counted.cultural))
                if counted.cultural
                else None,
            }
            for name in schema.load().values["culture"]
        },
    }


def _by_value(counts: Mapping[str, Counter[str]]) -> dict[str, Any]:
    ordered = sorted(counts.items(), key=lambda each: -each[1]["texts"])
    return {
        name: {"texts": each["texts"], "share": asdict(wilson(each["cultural"], each["texts"]))}
        for name, each in ordered
    }


def _macro(datasets: Mapping[str, Tally]) -> float | None:
    """The mean of the data sets' own shares, large and small alike."""
    shares = [share.value for each in datasets.values() if (share := each.share())]
    return sum(shares) / len(shares) if shares else None


def _ratio(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None


def _retention(first: Tally, now: Tally) -> dict[str, float | None] | None:
    """The share as a part of the first stage's, with a 95 % interval where both have cultural texts.

    Source:
        Katz et al. 1978, https://doi.org/10.2307/2530610.
    """
    if not (first.cultural and now.ok):
        return None
    value = (now.cultural / now.ok) / (first.cultural / first.ok)
    if first is now:
        return {"value": 1.0, "low": 1.0, "high": 1.0}
    if not now.cultural:
        return {"value": 0.0, "low": None, "high": None}
    spread = Z * math.sqrt(1 / now.cultural - 1 / now.ok + 1 / first.cultural - 1 / first.ok)
    return {"value": value, "low": value * math.exp(-spread), "high": value * math.exp(spread)}


def _corrected_retention(first: Tally, now: Tally, errors: ErrorRates | None) -> dict[str, float] | None:
    if errors is None:
        return None
    if first is now:
        return {"value": 1.0, "low": 1.0, "high": 1.0}
    return errors.retention((first.cultural, first.ok), (now.cultural, now.ok))


def _change(first: Tally, now: Tally) -> dict[str, Any] | None:
    split = decomposition.of_counts(_domains(first), _domains(now))
    return {**asdict(split), "change": split.change} if split else None


def _domains(counted: Tally) -> dict[str, tuple[int, int]]:
    return {name: (each["texts"], each["cultural"]) for name, each in counted.domains.items()}
