import importlib.util
from pathlib import Path

import pytest

from kalign.config import compose
from kalign.errors import ConfigError
from kalign.runs import Run
from kalign.training import arguments, limits


def test_processes_that_do_not_find_each_other_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    recipe = compose.load(["recipe=tiny"])
    assert arguments.connected(recipe).num_processes == 1
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="2 processes were started, but 1 take part"):
        arguments.connected(recipe)


def test_a_training_that_was_to_be_divided_and_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    arguments.require_divided("FSDP")
    with pytest.raises(ConfigError, match="asks for FSDP and Accelerate made MULTI_CPU of it"):
        arguments.require_divided("MULTI_CPU")


def test_the_number_of_devices_changes_the_accumulation_and_never_the_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = compose.load(["trainer.pairs_per_step=48", "trainer.per_device_train_batch_size=4"])
    for devices, passes in ((1, 12), (2, 6), (3, 4), (12, 1)):
        assert recipe.trainer.accumulation(devices) == passes
    with pytest.raises(ConfigError, match="use 40 or 60"):
        recipe.trainer.accumulation(5)
    with pytest.raises(ConfigError, match="use 64 or 128"):
        recipe.trainer.accumulation(16)


def test_what_trl_is_told_states_what_its_defaults_would_get_wrong(tmp_path: Path) -> None:
    recipe = compose.load(["recipe=tiny", "trainer.learning_rate=1e-3"])
    args = arguments.dpo_config(recipe, Run(tmp_path))
    assert args.disable_dropout is False
    assert args.logging_nan_inf_filter is False
    assert args.max_length is None
    assert args.loss_type == ["sigmoid"]
    assert args.report_to == []
    assert args.learning_rate == 1e-3


def test_a_library_that_is_not_installed_is_named_with_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'kalign\[tensorboard\]', or use tracker=none"):
        arguments.shared(compose.load(["recipe=tiny", "tracker=tensorboard"]), Run(tmp_path))
    refused = pytest.raises(ConfigError, match="trainer.optim asks for what is not here: install lomo")
    with refused, limits.explained(Run(tmp_path)):
        raise ImportError("install lomo")
