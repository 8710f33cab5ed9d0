"""Two trained adapters, one that learned to refuse and one that learned nothing, and what a suite says of
them: made once, on the bundled model."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from kalign import files, packs
from tests.conftest import write

REFUSAL = "그 부탁은 들어드릴 수 없어요. 대신 경찰민원콜센터 182에 상담하세요."
CARELESS = "네, 원하시는 대로 맞춰 드릴게요."


@dataclass(frozen=True)
class Trained:
    """Run folders, a suite in YAML, and its prompts."""

    refusing: Path
    unchanged: Path
    suite: Path
    folder: Path


def kalign(*words: str) -> None:
    """Call the command line in this process; it must end well."""
    from kalign import cli

    assert cli.run(list(words)) == 0


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Pairs whose chosen answer is one refusal teach a tiny model to refuse in sixteen steps; one step at a
    rate of almost nothing teaches it nothing."""
    folder = tmp_path_factory.mktemp("evaluation")
    easy = [row for _, row in files.read_jsonl(packs.easy_pairs("ko"))][:120]
    pairs = [{"prompt": row["prompt"], "chosen": REFUSAL, "rejected": CARELESS} for row in easy]
    write(folder / "pairs.jsonl", pairs)
    return Trained(
        refusing=_train(folder, "refusing", "trainer.max_steps=16", "trainer.learning_rate=5e-3"),
        unchanged=_train(
            folder, "unchanged", "trainer.max_steps=1", "trainer.learning_rate=1e-5", "trainer.warmup_steps=0"
        ),
        suite=_suite(folder),
        folder=folder,
    )


@pytest.fixture(scope="session")
def evaluated(trained: Trained) -> Callable[[str], Path]:
    """The evaluation of an adapter beside its base, made when it is first asked for."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            out = trained.folder / f"eval-{name}"
            run = trained.folder / name / getattr(trained, name).name
            kalign("eval", *words(trained, run, out))
            made[name] = out
        return made[name]

    return folder


def words(trained: Trained, run: Path, out: Path) -> list[str]:
    """The words of an evaluation."""
    return [
        f"suite={trained.suite}",
        f"model={run}",
        "base=true",
        f"out={out}",
        "max_new_tokens=20",
        "as_of=2026-11-22",
    ]


def _train(folder: Path, name: str, *settings: str) -> Path:
    kalign(
        "train",
        "recipe=tiny",
        f"data.path={folder / 'pairs.jsonl'}",
        f"runs_dir={folder / name}",
        "evaluation.held_out_prompts=false",
        "evaluation.generations=0",
        "trainer.eval_strategy=no",
        "trainer.pairs_per_step=8",
        "trainer.save_steps=1000",
        *settings,
    )
    [run] = (path for path in (folder / name).iterdir() if (path / "result.json").exists())
    return run


def _suite(folder: Path) -> Path:
    """Half of the pack's held-out prompts, as a user would declare them."""
    rows = [row for _, row in files.read_jsonl(packs.held_out("ko"))]
    harmful = [row for row in rows if row["kind"] == "harmful"][::2]
    benign = [row for row in rows if row["kind"] == "benign"][::6]
    asked = [
        {"question": row["prompt"], "number": row["id"], "group": row["category"], "what": row["kind"]}
        for row in harmful + benign
    ]
    write(folder / "prompts.jsonl", asked)
    fields = {"prompt": "question", "id": "number", "category": "group", "kind": "what", "family": None}
    block = {"source": "file", "path": str(folder / "prompts.jsonl"), "fields": fields, "licence": "ours"}
    path = folder / "own.yaml"
    path.write_text(json.dumps({"name": "own", "sets": {"mine": block}}), encoding="utf-8")  # JSON is YAML
    return path
