"""`-m`: Hydra's multirun over every combination of comma-separated values, each training in a process of its
own."""

import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from kalign import preemption
from kalign.config import compose
from kalign.errors import ConfigError


def run(words: list[str], launch: list[str]) -> int:
    """Train each combination, one after another; the first exit code that is not 0 is returned after all have
    run.

    Args:
        launch: the words that say on which devices, the same for each.

    Raises:
        ConfigError: a word is wrong.
    """
    prepared = compose.prepared(words)
    paths = {path.rsplit("/", 1)[-1].rsplit(".", 1)[0]: path for path in _recipe_files(words)}
    codes: list[int] = []

    def job(composed: DictConfig) -> None:
        overrides = list(HydraConfig.get().overrides.task)
        own = [_original(word, paths) for word in overrides]
        command = [sys.executable, "-m", "kalign", "train", *own, *launch]
        print("kalign: kalign train " + " ".join([*own, *launch]), file=sys.stderr)
        codes.append(children.run(command))

    sys.argv = ["kalign train", "--multirun", *prepared]
    try:
        with preemption.passing_on() as children:
            hydra.main(config_path=None, config_name="config", version_base="1.3")(job)()
    except (HydraException, OmegaConfBaseException) as wrong:
        raise ConfigError(compose.plainly(wrong)) from wrong
    return next((code for code in codes if code), 0)


def _recipe_files(words: list[str]) -> list[str]:
    values = [
        value
        for word in words
        if word.startswith("recipe=")
        for value in word.removeprefix("recipe=").split(",")
    ]
    return [value for value in values if value.endswith((".yaml", ".yml"))]


def _original(word: str, paths: dict[str, str]) -> str:
    """The word as the user would write it: a recipe file by its path, a source of data.mix without Hydra's
    plus signs."""
    key, _, value = word.partition("=")
    return f"recipe={paths.get(value, value)}" if key == "recipe" else word.removeprefix("++")
