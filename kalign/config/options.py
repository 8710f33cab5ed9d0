"""Options that stand beside recipes, such as a provider: a file of conf/ by its name, or one of the user's
own, read into the dataclass of its settings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from kalign.config import compose, suspicion
from kalign.config.rules import one_of
from kalign.errors import ConfigError

T = TypeVar("T")


def shipped(group: str) -> dict[str, Path]:
    """Every file of a folder of conf/ by name."""
    return {path.stem: path for path in sorted((compose.root("conf") / group).glob("*.yaml"))}


def located(group: str, name: str, *, key: str) -> Path:
    """The file that a name or a path of YAML means.

    Args:
        key: the setting that gives it.

    Raises:
        ConfigError: conf/ has none of that name.
    """
    if name.endswith((".yaml", ".yml")):
        return Path(name).expanduser()
    known = shipped(group)
    one_of(key, name, tuple(known))
    return known[name]


def content(path: Path) -> dict[str, Any]:
    """What a file says; it is called by its own name unless it says another.

    Raises:
        ConfigError: it is no file of settings, or holds what no configuration may.
    """
    said = suspicion.parse(path)
    suspicion.refuse_calls_and_secrets(said, str(path))
    return {"name": path.stem, **said}


def typed(kind: type[T], content: Mapping[str, Any], where: str, words: Sequence[str] = ()) -> T:
    """The settings as `kind`, with those that words such as size=40 change; not checked yet.

    Raises:
        ConfigError: a key is unknown, or a value of another type; the message starts with `where`.
    """
    try:
        given = OmegaConf.from_dotlist([*words])
        merged = OmegaConf.merge(OmegaConf.structured(kind), content, given)
        return cast(T, OmegaConf.to_object(merged))
    except OmegaConfBaseException as wrong:
        raise ConfigError(f"{where}: {compose.plainly(wrong)}") from wrong
