"""A second pack needs no Python: it is started by a command, filled with data, checked, and trained on."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kalign import files, packs
from tests.conftest import Result, only_run
from tests.packs.conftest import filled

FILES = ["held_out.jsonl", "institutions.yaml", "pack.yaml", "pairs.jsonl", "policy/Q.yaml", "taxonomy.yaml"]

ALONGSIDE = ["README.md", "citations.yaml", "refusal.yaml", "statutes/articles.csv", "statutes/laws.csv"]


def test_a_new_pack_is_right_but_for_what_is_still_the_example(
    tmp_path: Path, kalign_here: Callable[..., Result]
) -> None:
    made = kalign_here("pack", "new", "isle", "--json")
    assert made.returncode == 0
    assert json.loads(made.stdout) == {"folder": "isle", "files": sorted([*FILES, *ALONGSIDE])}
    assert packs.load("isle").name == "isle"
    checked = kalign_here("pack", "check", "isle", "--json")
    assert checked.returncode == 3
    found = json.loads(checked.stdout)["findings"]
    assert [finding["where"] for finding in found] == FILES
    assert all("example" in finding["what"] for finding in found)


def test_every_key_of_the_example_is_explained_where_its_name_is_not_enough(tmp_path: Path) -> None:
    for path in packs.SKELETON.rglob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert text.startswith("# kalign ")
        assert text.count("#") >= 5, path


@pytest.mark.parametrize("name", ["ko", "here", "a b", "..", "nowhere/at/all"])
def test_a_pack_is_never_written_over_anything(
    name: str, tmp_path: Path, kalign_here: Callable[..., Result]
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "nowhere").touch()
    refused = kalign_here("pack", "new", name)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "nowhere"]


@pytest.mark.slow
def test_a_made_up_pack_runs_the_whole_tiny_recipe(
    tmp_path: Path, short: list[str], kalign_here: Callable[..., Result]
) -> None:
    folder = filled(tmp_path / "isle")
    assert kalign_here("pack", "check", str(folder)).returncode == 0
    words = [word for word in short if not word.startswith("data.path=")]
    trained = kalign_here("train", *words, f"pack={folder}", "evaluation.held_out_prompts=true")
    assert trained.returncode == 0, trained.stderr
    run = only_run(tmp_path / "runs")
    ledger = [row for _, row in files.read_parquet(run / "ledger.parquet")]
    assert len(ledger) == 24
    assert {row["action"] for row in ledger} == {"train", "eval"}
    assert min(row["language_share"] for row in ledger) == 1.0
    behaviour = json.loads((run / "result.json").read_text(encoding="utf-8"))["behaviour"]
    assert behaviour["by_category"]["Q"]["prompts"] == 2
    assert behaviour["benign"]["answered"]["prompts"] == 2
    answers = [row for _, row in files.read_jsonl(run / "held_out_answers.jsonl")]
    assert [row["id"] for row in answers] == ["h0", "b0", "h1", "b1"]
    assert "held-out harmful prompts" in trained.stdout
    assert (run / "adapter/adapter_model.safetensors").exists()
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["recipe"]["pack"] == str(folder)
    assert manifest["inputs"]["data"]["data"]["path"] == f"pack:{folder}+easy"


def test_a_pack_comes_with_an_installed_package_whose_code_is_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kalign_here: Callable[..., Result]
) -> None:
    site = tmp_path / "site"
    filled(site / "isles/packs/isle")
    (site / "isles/__init__.py").write_text("raise RuntimeError('run')", encoding="utf-8")
    brings(site, "isles", "isle = isles.packs.isle\nlost = isles.packs.lost\nodd = .isles\ntwice = isles")
    brings(site, "other", "twice = other\nko = other")
    monkeypatch.syspath_prepend(site)
    checked = kalign_here("pack", "check", "isle")
    assert checked.returncode == 0, checked.stderr
    assert packs.folder("isle") == site / "isles/packs/isle"
    assert {"ko", "isle"} <= set(packs.names())
    assert "did you mean isle?" in kalign_here("pack", "check", "isel").stderr
    wrong = {
        "lost": "isles.packs.lost, which holds no pack.yaml",
        "odd": "package .isles,",
        "twice": "(isles, other)",
        "ko": "(other)",
    }
    for name, said in wrong.items():
        refused = kalign_here("train", "recipe=tiny", f"pack={name}")
        assert (refused.returncode, said in refused.stderr) == (2, True)
    shutil.copytree(packs.folder("isle"), "isle")
    assert "isle is installed and a folder here; write ./isle" in kalign_here("pack", "check", "isle").stderr


def brings(site: Path, package: str, packs_of_it: str) -> None:
    """Make it look installed, as pip does."""
    about = site / f"{package}-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n", encoding="utf-8")
    (about / "entry_points.txt").write_text(f"[kalign.packs]\n{packs_of_it}\n", encoding="utf-8")
