"""A new pack: the commented example that it starts from, and what of it is still there."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from kalign import files, packs, yaml_files
from kalign.errors import ConfigError, DataError
from kalign.packs.shapes import Finding

NAME = "NAME_OF_THE_PACK"  # in the example's pack.yaml
MAY_STAY = ("citations.yaml", "refusal.yaml")  # they describe the language, which may be the example's


def new(name: str) -> Path:
    """Copy the example to a new folder, under the folder's name, and return the folder.

    Raises:
        ConfigError: the folder exists, its name would not do for a pack, or it cannot be written.
    """
    folder = Path(name).expanduser()
    if not re.fullmatch(r"\w[\w.-]*", folder.name):
        raise ConfigError(
            f"{name!r} is no name for a pack; use letters, digits, '.', '_' and '-', such as packs/mine"
        )
    if folder.name in packs.names():
        raise ConfigError(f"{folder.name} is the name of a bundled or installed pack; give yours another one")
    if folder.exists():
        raise ConfigError(f"{folder} exists already; give another name, or remove it first")
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)  # of a copy that was interrupted
        shutil.copytree(packs.SKELETON, partial)
        general = partial / "pack.yaml"
        general.write_text(general.read_text(encoding="utf-8").replace(NAME, folder.name), encoding="utf-8")
        partial.rename(folder)
    except OSError as wrong:
        shutil.rmtree(partial, ignore_errors=True)
        files.raise_if_full(wrong, folder)
        # Of several files shutil says a list, each with its reason
        why = wrong.strerror or next((reason for *_, reason in wrong.args[0]), wrong)
        raise ConfigError(f"{folder} cannot be written: {why}; give another place") from wrong
    return folder


def leftovers(folder: Path) -> Iterator[Finding]:
    """What of a pack is still the example's, word for word."""
    if folder.resolve() == packs.SKELETON:
        return
    for name in names(packs.SKELETON):
        path = folder / name
        if not path.is_file() or name in MAY_STAY:
            continue
        try:
            if name.endswith(".yaml"):
                yield from _same_yaml(name, yaml_files.read(path), yaml_files.read(packs.SKELETON / name))
            elif name.endswith(".jsonl"):
                yield from _same_rows(name, path, packs.SKELETON / name)
        except DataError:
            continue  # a finding already, as a file that cannot be read


def _same_yaml(name: str, content: object, example: object) -> Iterator[Finding]:
    if name == "pack.yaml" and isinstance(content, dict) and isinstance(example, dict):
        same = [key for key in ("title", "principles", "never") if content.get(key) == example[key]]
        if same:
            yield Finding(name, f"{', '.join(same)}: still the example's", "say them for your pack")
    elif content == example:
        yield Finding(name, "is still the example", "replace what it holds by your own")


def _same_rows(name: str, path: Path, example: Path) -> Iterator[Finding]:
    rows = [row for _, row in files.read_jsonl(example)]
    left = [str(row["id"]) for _, row in files.read_jsonl(path) if row in rows]
    if left:
        yield Finding(
            name, f"holds {len(left)} rows of the example ({', '.join(left)})", "replace them by your own"
        )


def names(folder: Path) -> list[str]:
    """The files of a folder, relative to it."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
