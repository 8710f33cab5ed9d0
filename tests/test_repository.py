"""What holds for the repository as a whole: directions of imports, names of settings, recipes that
compose."""

import ast
import dataclasses
import inspect
import re
import subprocess
import sys
import typing
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from kalign.config import Adapter, Loss, Recipe, Trainer, compose, optimization, training
from tests.conftest import ROOT

PACKAGE = ROOT / "kalign"
SOURCES = sorted(PACKAGE.rglob("*.py"))
SETTINGS = sorted(key for key in compose.every_key() if "*" not in key)
ROWS = [
    ["errors", "__init__"],
    ["records", "files", "yaml_files", "preemption", "statistics", "pages"],
    ["locks"],
    ["config", "runs", "packs", "grounding"],
    ["models", "data", "listing", "providers", "sweeps"],
    ["judging"],
    ["training", "export", "synthesis", "evaluation", "associations", "markers"],
    ["commands"],
    ["cli"],
    ["__main__"],
]
ROW = {room: number for number, row in enumerate(ROWS) for room in row}


def imported(path: Path) -> set[str]:
    """The rooms of kalign that a file imports, anywhere in it."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            rooms |= {name.name.split(".")[1] for name in node.names if name.name.startswith("kalign.")}
        elif isinstance(node, ast.ImportFrom) and node.module == "kalign":
            rooms |= {name.name for name in node.names if name.name != "__version__"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kalign."):
            rooms.add(str(node.module).split(".")[1])
    return rooms


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_go_one_way(path: Path) -> None:
    here = path.relative_to(PACKAGE).with_suffix("").parts[0]
    assert all(room == here or ROW[room] < ROW[here] for room in imported(path))


@pytest.mark.parametrize(
    "module",
    [
        "config",
        "config.compose",
        "config.multirun",
        "config.words",
        "records",
        "files",
        "yaml_files",
        "config.launch",
        "listing",
        "locks",
        "preemption",
        "runs",
        "sweeps.control",
        "sweeps.report",
        "packs",
        "packs.check",
        "providers",
        "cli",
    ],
)
def test_light_modules_stay_light(module: str) -> None:
    code = f"import sys, kalign.{module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "transformers", "trl", "peft", "datasets", "pyarrow", "numpy"}
    assert not heavy & set(loaded.stdout.split())


@pytest.mark.parametrize("recipe", compose.shipped_recipes())
def test_every_recipe_composes(recipe: str) -> None:
    assert compose.load([f"recipe={recipe}"]).name == recipe


@pytest.mark.parametrize("group", compose.GROUPS)
def test_every_option_of_every_group_composes(group: str) -> None:
    options = sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))
    assert options
    needed = {"trainer": ["trainer.bf16=false"], "data=associations": ["method=sft"]}
    for option in options:
        more = needed.get(group, []) + needed.get(f"{group}={option}", [])
        compose.load(["recipe=tiny", f"{group}={option}", *more])


@pytest.mark.parametrize("group", compose.GROUPS)
def test_every_option_states_its_values_and_starts_with_the_command_that_uses_it(group: str) -> None:
    for path in (ROOT / "conf" / group).glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert re.match(r"# (kalign|accelerate launch) ", text), path
        assert "\n# " in text, f"{path} does not say what it is"


def test_the_defaults_of_the_schema_are_those_of_conf() -> None:
    """A Recipe made in Python is what `recipe` files that only name base would give, but for what base leaves
    open."""
    for group, option in (
        ("loss", "dpo"),
        ("trainer", "default"),
        ("evaluation", "samples"),
        ("adapter", "lora"),
    ):
        blocks = {"model": conf("model", "other"), group: conf(group, option)}
        written = OmegaConf.to_container(OmegaConf.create(blocks), resolve=True)[group]
        stated = dataclasses.asdict(getattr(Recipe(), group))
        for key, value in written.items():
            if isinstance(value, dict):
                assert value.items() <= stated[key].items()
            else:
                assert stated[key] == value, f"{group}.{key}"
    assert set(dataclasses.asdict(Loss())) == set(conf("loss", "dpo"))


def test_every_known_model_states_every_setting_of_a_model() -> None:
    """So that nothing of it is left to a default that was meant for models that are not known."""
    block = {setting.split(".")[1] for setting in SETTINGS if setting.startswith("model.")}
    for path in (ROOT / "conf/model").glob("*.yaml"):
        assert block - {"licence"} <= set(conf("model", path.stem)), path


def conf(group: str, option: str) -> dict[str, Any]:
    """What one file of conf/ says."""
    text = (ROOT / "conf" / group / f"{option}.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


@pytest.fixture(scope="module")
def read() -> set[str]:
    """Every name that is read as an attribute anywhere in kalign, and those that are handed over whole."""
    names = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                names.add(node.attr)
    return names


HANDED_OVER_WHOLE = (
    "trainer.",
    "loss.",
    "adapter.",
)  # as keyword arguments: their names are tested against TRL's


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_is_read(setting: str, read: set[str]) -> None:
    if not setting.startswith(HANDED_OVER_WHOLE) or setting.startswith("adapter.quantization"):
        assert setting.rsplit(".", 1)[-1] in read


def test_settings_keep_the_names_of_trl_and_peft() -> None:
    from peft import LoraConfig
    from trl import DPOConfig

    def names(block: type) -> set[str]:
        return {field.name for field in dataclasses.fields(block)}

    assert names(Adapter) - {"quantization"} <= names(LoraConfig)
    ours = {
        "pairs_per_step",
        "tokens_per_micro_batch",
        "shared_prefix",
        "reference_store",
    }  # TRL's gradient_accumulation_steps follows from the first
    assert names(Trainer) - ours | names(Loss) <= names(DPOConfig)


def test_the_losses_are_those_that_trl_computes() -> None:
    from trl import DPOTrainer

    source = inspect.getsource(DPOTrainer._compute_loss)
    assert set(re.findall(r'loss_type == "(\w+)"', source)) == set(training.LOSS_TYPES)
    assert set(re.findall(r'f_divergence_type == "(\w+)"', source)) == set(training.F_DIVERGENCES)


def test_optimizers_and_schedules_are_those_of_transformers() -> None:
    from transformers import SchedulerType
    from transformers.training_args import OptimizerNames

    assert {name.value for name in OptimizerNames} == set(optimization.OPTIMIZERS)
    schedules = {*optimization.SCHEDULES, *optimization.SCHEDULES_WITH_MORE}
    assert {name.value for name in SchedulerType} == schedules


def test_no_yaml_names_code() -> None:
    for path in [*(ROOT / "conf").rglob("*.yaml"), *(ROOT / "recipes").rglob("*.yaml")]:
        assert "_target_" not in path.read_text(encoding="utf-8")


def test_no_python_knows_korea() -> None:
    """What is Korean is data of the pack `ko`: no letter, and no range of letters, stands in the code."""
    for path in SOURCES:
        found = re.search(
            r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]|\\u(?i:ac00|d7a3|3131|318e|1100)|(?i:hangul)",
            path.read_text(encoding="utf-8"),
        )
        assert not found, f"{path}: {found}"


def test_every_setting_has_a_type() -> None:
    assert all(kind is not None for kind in typing.get_type_hints(Recipe).values())


@pytest.mark.slow
def test_the_wheel_installed_elsewhere_composes_every_recipe(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, capture_output=True, check=True)
    [wheel] = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert "kalign/models/bundled/tiny/model.safetensors" in packed
    assert {"kalign/packs/ko/statutes/articles.csv", "kalign/packs/skeleton/policy/Q.yaml"} <= packed
    assert {f"kalign/models/families/exaone.{kind}" for kind in ("yaml", "jinja")} <= packed
    assert "kalign/models/battery.json" in packed
    site = tmp_path / "site"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(site),
    ]
    subprocess.run([*install, str(wheel)], check=True)
    code = (
        "import kalign, sys; from kalign.config import compose; "
        "[compose.load([f'recipe={name}']) for name in compose.shipped_recipes()]; "
        "print(kalign.__file__, *compose.shipped_recipes())"
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shown = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=elsewhere,
        env={"PYTHONPATH": str(site), "PATH": ""},
    ).stdout.split()
    assert Path(shown[0]).is_relative_to(site)
    assert set(shown[1:]) == set(compose.shipped_recipes())
