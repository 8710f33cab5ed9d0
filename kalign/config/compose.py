"""The one place that knows Hydra: words of a command line in, one checked Recipe out.

Everything goes into Hydra's ConfigStore (nothing onto a search path), so folders may have any name and a
recipe file needs no package line. A recipe of the user's own is one more entry of the store, and may inherit
a shipped one.
"""

import dataclasses
import difflib
import re
import typing
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from hydra import compose as hydra_compose
from hydra import initialize
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from kalign.config import elsewhere, suspicion
from kalign.config.schema import Recipe
from kalign.errors import ConfigError

PACKAGE = Path(__file__).resolve().parent.parent
GROUPS = (
    "model",
    "data",
    "associations",
    "adapter",
    "loss",
    "sft",
    "reward",
    "trainer",
    "evaluation",
    "guards",
    "tracker",
)
DEFAULT_RECIPE = "tiny"
OWN_NAMES = (
    r"(?:model\.template_kwargs|data\.selection\.shares|data\.markers\.fixed)\b"  # mappings of the user's
)


def root(name: str) -> Path:
    """The folder `conf`, `recipes` or `launch`: inside the installed package, or beside it in a checkout."""
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent / name


def shipped_recipes() -> dict[str, Path]:
    """Every shipped recipe by name."""
    return {path.stem: path for path in sorted(root("recipes").glob("*.yaml"))}


def load(words: list[str]) -> Recipe:
    """Compose the recipe that `words` ask for, such as ["recipe=tiny", "loss.beta=0.3"], and check it.

    Raises:
        ConfigError: a key or value is unknown, of a wrong type, contradictory, or suspicious.
    """
    words = prepared(words)
    GlobalHydra.instance().clear()
    try:
        with initialize(config_path=None, version_base="1.3"):
            composed = hydra_compose("config", overrides=words)
        return typed(composed)
    except (HydraException, OmegaConfBaseException) as wrong:
        raise ConfigError(plainly(wrong)) from wrong


def again(written: Mapping[str, Any], words: list[str]) -> Recipe:
    """The recipe that a run wrote down, with the settings that `words` change, such as ["data.seed=2"].

    Raises:
        ConfigError: as `load`, or the run was written by a kalign with other settings.
    """
    suspicion.refuse_suspicious_words(words)
    for word in words:
        _check_known(word.partition("=")[0], "")
    try:
        changed = OmegaConf.from_dotlist(words)
        return typed(cast(DictConfig, OmegaConf.merge(OmegaConf.structured(Recipe), written, changed)))
    except OmegaConfBaseException as wrong:
        raise ConfigError(plainly(wrong)) from wrong


def typed(composed: DictConfig) -> Recipe:
    """The composed configuration as a checked Recipe.

    Raises:
        ConfigError: a value is missing, of the wrong type, or contradicts another one.
    """
    try:
        recipe = cast(Recipe, OmegaConf.to_object(composed))
    except OmegaConfBaseException as wrong:
        raise ConfigError(plainly(wrong)) from wrong
    suspicion.refuse_calls_and_secrets(dataclasses.asdict(recipe), f"recipe {recipe.name}")
    recipe.check()
    return recipe


def prepared(words: list[str]) -> list[str]:
    """Fill Hydra's store, and rewrite `recipe=some/where/mine.yaml` to the name under which that file is
    stored.

    Raises:
        ConfigError: a word is suspicious or names no setting, or a recipe file is wrong.
    """
    suspicion.refuse_suspicious_words(words)
    _store_shipped()
    rewritten = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals and not key.startswith("~"):
            raise ConfigError(f"{word!r} is no setting; write key=value, for example recipe={DEFAULT_RECIPE}")
        if key == "recipe":
            value = ",".join(_recipe_name(choice) for choice in value.split(","))
        else:
            _check_key(key, value)
        # names of the user's own, which Hydra wants marked
        if key == "data.mix" or re.match(OWN_NAMES, key):
            key = f"++{key}"
        rewritten.append(_readable(f"{key}={value}") if equals else word)
    return rewritten


def _readable(word: str) -> str:
    """The word as Hydra can read it: a value such as x(1).jsonl is put into quotes."""
    try:
        OverridesParser.create().parse_override(word)
    except HydraException:
        key, _, value = word.partition("=")
        quoted = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"{key}='{quoted}'"
    return word


def _recipe_name(choice: str) -> str:
    shipped = shipped_recipes()
    if choice.endswith((".yaml", ".yml")):
        path = Path(choice).expanduser()
        if path.stem in shipped and path.resolve() != shipped[path.stem].resolve():
            raise ConfigError(
                f"{path} takes the name of the shipped recipe {path.stem}; give the file another name"
            )
        _store_recipe(path)
        return path.stem
    _check_choice("recipe", choice, shipped, ", or a path that ends in .yaml")
    return choice


@cache
def _store_shipped() -> None:
    """Put the schema, every option of conf/ and every shipped recipe into Hydra's store, once a process."""
    store = ConfigStore.instance()
    store.store(name="schema", node=Recipe)
    for path in sorted(root("conf").rglob("*.yaml")):
        group = path.parent.relative_to(root("conf")).as_posix()
        if group not in (".", *GROUPS):  # no part of a recipe; whoever names it reads it
            continue
        content = suspicion.parse(path)
        _check_content(content, path, group if group in GROUPS else "")
        store.store(group=None if group == "." else group, name=path.stem, node=OmegaConf.create(content))
    for path in shipped_recipes().values():
        _store_recipe(path)


def _store_recipe(path: Path) -> None:
    content = suspicion.parse(path)
    suspicion.refuse_calls_and_secrets(content, str(path))
    _check_content(content, path, "")
    if content.get("name") != path.stem:
        raise ConfigError(
            f"{path}: name: {content.get('name')} must be the file's own name; write name: {path.stem}"
        )
    content = {**content, "defaults": _hydra_defaults(content.get("defaults"), path)}
    ConfigStore.instance().store(
        group="recipe", name=path.stem, node=OmegaConf.create(content), package="_global_"
    )


def _hydra_defaults(written: Any, path: Path) -> list[Any]:
    """The defaults list as Hydra wants it: `/base` has chosen every group, so a recipe's choices override,
    and come last.

    Raises:
        ConfigError: the list does not start from /base or another recipe, or an entry is not understood.
    """
    example = f"[/base, {{/model: other}}, _self_] or [{DEFAULT_RECIPE}, _self_]"
    if not isinstance(written, list) or not written or not isinstance(written[0], str):
        raise ConfigError(
            f"{path}: defaults: must start from /base or from a recipe's name, such as {example}"
        )
    parents, choices = [], {}
    for entry in written:
        if isinstance(entry, str):
            if entry not in ("/base", "_self_"):
                _check_choice(f"{path}: defaults: recipe", entry, shipped_recipes())
            parents.append(entry)
        elif isinstance(entry, dict) and len(entry) == 1 and next(iter(entry)).lstrip("/") in GROUPS:
            group, option = next(iter(entry.items()))
            known = sorted(each.stem for each in (root("conf") / group.lstrip("/")).glob("*.yaml"))
            _check_choice(f"{path}: defaults: {group}", str(option), known)
            choices[f"override /{group.lstrip('/')}"] = option
        else:
            raise ConfigError(f"{path}: defaults: cannot read {entry!r}; write entries as in {example}")
    if "_self_" not in parents:
        parents.append("_self_")
    return [*parents, *({group: option} for group, option in choices.items())]


@cache
def every_key(schema: type = Recipe, prefix: str = "") -> Mapping[str, Any]:
    """Every dotted key of the schema with its type; a dict of blocks is `mix.*`."""
    found: dict[str, Any] = {}
    hints = typing.get_type_hints(schema)
    for part in dataclasses.fields(schema):
        key, kind = prefix + part.name, hints[part.name]
        found[key] = kind
        if dataclasses.is_dataclass(kind):
            found |= every_key(cast(type, kind), key + ".")
        elif typing.get_origin(kind) is dict:
            inner = typing.get_args(kind)[1]
            known = every_key(cast(type, inner), key + ".*.") if dataclasses.is_dataclass(inner) else {}
            found |= known or {key + ".*": inner}
    return MappingProxyType(found)


def _check_content(content: dict[str, Any], path: Path, group: str) -> None:
    """Refuse a key of a YAML file that the schema does not have, with file, key and nearest name."""
    for key, _ in suspicion.walk({name: value for name, value in content.items() if name != "defaults"}):
        full = f"{group}.{key}" if group else key
        if "[" not in full and not full.startswith("hydra"):
            _check_known(full, f"{path}: ")


def _check_key(key: str, value: str) -> None:
    plain = key.lstrip("+~").split("@")[0]
    if plain.startswith("hydra"):
        return
    if plain in GROUPS:
        options = sorted(path.stem for path in (root("conf") / plain).glob("*.yaml"))
        for option in value.split(","):
            _check_choice(plain, option, options)
        return
    _check_known(plain, "")
    if key.startswith(("+", "~")):
        raise ConfigError(
            f"{key}: every setting exists already, so none is added or removed; write {plain}=VALUE"
        )


def _check_choice(group: str, option: str, options: Collection[str], otherwise: str = "") -> None:
    if option not in options:
        near = difflib.get_close_matches(option, options, n=1)
        hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(options)}{otherwise}"
        raise ConfigError(f"{group}={option} is unknown; {hint}")


def _check_known(key: str, where: str) -> None:
    known = every_key()
    generic = re.sub(rf"^(data\.mix|{OWN_NAMES})\.[^.]+", r"\1.*", key)
    if generic in known or generic == "data.mix.*":
        return
    leaf = key.rsplit(".", 1)[-1]
    if leaf in elsewhere.NAMES:
        raise ConfigError(f"{where}{key} is no setting; here it is {elsewhere.NAMES[leaf]}")
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.75)
    near = near or [name for name in known if name.rsplit(".", 1)[-1] == leaf][:1]
    near = near or difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]}?" if near else "kalign show prints every key"
    raise ConfigError(f"{where}{key} is no setting; {hint}")


def plainly(wrong: Exception) -> str:
    """One sentence out of an error of Hydra or OmegaConf: what it says, without its stack of contexts."""
    text = str(wrong.__cause__ or wrong) if isinstance(wrong, HydraException) else str(wrong)
    if several := re.search(r"Ambiguous value for argument '(.+?)'", text):
        if several[1].startswith("data.path="):
            mix = "data.mix={a:{path:ONE},b:{path:OTHER}}"
            return f"{several[1]} names several files; write data.path=null {mix}, or add -m to run each"
        return f"{several[1]} names several values; add -m to run each, or write key=[a,b] for a list"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if unknown := re.search(r"Key '(\w+)' is not in struct\s+full_key: data\.mix\.\w+", text):
        return f"data.mix has no source {unknown[1]}; write data.mix={{{unknown[1]}:{{path:FILE,weight:1}}}}"
    key = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("full_key:")), "")
    said = [line for line in lines if not line.startswith(("full_key:", "object_type=", "reference_type="))]
    sentence = " ".join(said).replace("'\\ufeff", "")
    sentence = re.sub(r"\s+", " ", sentence)
    return f"{key}: {sentence}" if key and key not in sentence else sentence


def as_yaml(recipe: Recipe) -> str:
    """The resolved recipe as YAML, in the schema's order."""
    return OmegaConf.to_yaml(OmegaConf.create(dataclasses.asdict(recipe)))
