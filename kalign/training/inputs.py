"""What a run is made from: pairs, ledger, and the manifest that says so; made once, by the first process."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pyarrow
from rich.console import Console

from kalign import files, packs, runs
from kalign.config import Recipe
from kalign.config.compose import as_yaml
from kalign.data import build, ledger
from kalign.data.build import Pairs
from kalign.models import loading
from kalign.models.chat import Chat
from kalign.models.loading import Located
from kalign.runs import Run
from kalign.training import report

PAIR_COLUMNS = {name: pyarrow.list_(pyarrow.int32()) for name in ("prompt_ids", "chosen_ids", "rejected_ids")}


def prepare(recipe: Recipe, run: Run, located: Located, chat: Chat, console: Console) -> Pairs:
    """Make the pairs, write ledger, manifest and tokens, and refuse data or inputs that cannot be trained
    on."""
    letters = packs.load(recipe.pack).letters
    pairs = build.build(recipe.data, chat, letters=letters, model=recipe.model)
    ledger.write(run.ledger, pairs.lines)
    report.print_ledger(console, pairs.summary, run.ledger)
    build.require_acceptable(pairs, recipe.data)
    inputs = {
        "data": pairs.identity,
        "template_sha256": chat.template_sha256,
        "tokenizer_sha256": chat.tokenizer_sha256,
        "base": loading.base_identity(located),
    }
    note(recipe, run, inputs, pairs.summary.as_dict())
    for name, some in (("train", pairs.train), ("eval", pairs.held_out)):
        files.write_parquet(run.pairs / f"{name}.parquet", (pair.columns() for pair in some), PAIR_COLUMNS)
    return pairs


def note(recipe: Recipe, run: Run, inputs: dict[str, Any], account: dict[str, Any]) -> None:
    """Write recipe and manifest, or see that both are those that the run was started with.

    Raises:
        IntegrityError: they are not.
    """
    if run.manifest.exists():
        _require_same(run.read_manifest(), recipe, inputs, run)
    else:
        (run.path / "recipe.yaml").write_text(as_yaml(recipe), encoding="utf-8")
        manifest = {
            "fingerprint": runs.fingerprint({"recipe": recipe.determining(), "inputs": inputs}),
            "inputs": inputs,
            "licence": dataclasses.asdict(recipe.model.licence),
            "ledger": account,
            "versions": runs.versions(),
            "git_commit": runs.git_commit(),
            "recipe": dataclasses.asdict(recipe),
        }
        files.write_json(run.manifest, manifest)


def require_data(identity: Mapping[str, Any], run: Run) -> None:
    """Refuse a finished run whose data are no longer those that were trained on.

    Raises:
        IntegrityError: they are not.
    """
    runs.require_same({"data": run.read_manifest()["inputs"]["data"]}, {"data": dict(identity)}, run)


def _require_same(old: dict[str, Any], recipe: Recipe, inputs: dict[str, Any], run: Run) -> None:
    asked = runs.flat(recipe.determining())
    written = runs.flat(old["recipe"])
    settings = {key: written.get(key) for key in asked}
    runs.require_same({**old["inputs"], **settings}, {**inputs, **asked}, run)
