"""`-m`: Hydra's multirun over every combination of comma-separated values."""

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from kalign.config import compose
from kalign.errors import ConfigError

FULL_ERROR = "HYDRA_FULL_ERROR"


def combinations(words: list[str]) -> list[list[str]]:
    """The words of each combination of comma-separated values, by Hydra's own rules.

    Raises:
        ConfigError: a word is wrong.
    """
    prepared = compose.prepared(words)
    paths = {path.rsplit("/", 1)[-1].rsplit(".", 1)[0]: path for path in _recipe_files(words)}
    found: list[list[str]] = []
    refused: list[ConfigError] = []

    def note(composed: DictConfig) -> None:
        each = [_original(word, paths) for word in HydraConfig.get().overrides.task]
        try:
            compose.typed(composed)
        except ConfigError as wrong:  # which Hydra would print as a traceback, and leave
            refused.append(ConfigError(f"{wrong} (in the combination {shlex.join(each)})"))
        found.append(each)

    sys.argv = ["kalign train", "--multirun", *prepared]
    with _raising():
        try:
            hydra.main(config_path=None, config_name="config", version_base="1.3")(note)()
        except (HydraException, OmegaConfBaseException) as wrong:
            raise ConfigError(compose.plainly(wrong)) from wrong
    if refused:
        raise refused[0]
    return found


@contextlib.contextmanager
def _raising() -> Iterator[None]:
    """Let Hydra raise what is wrong with a word; otherwise it prints it, and ends the process with 1."""
    before = os.environ.get(FULL_ERROR)
    os.environ[FULL_ERROR] = "1"
    try:
        yield
    finally:
        del os.environ[FULL_ERROR]
        if before is not None:
            os.environ[FULL_ERROR] = before


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
