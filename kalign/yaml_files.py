"""YAML in: one strict reader for recipes and packs, which never expands more than a file should hold."""

import re
from pathlib import Path
from typing import Any

import yaml

from kalign.errors import DataError

try:
    from yaml import CSafeLoader as SafeLoader  # ten times faster than the one in Python
except ImportError:  # PyYAML built without libyaml
    from yaml import SafeLoader  # type: ignore[assignment]

LARGEST_FILE_BYTES = 1024 * 1024
MOST_NODES = 50_000
DEEPEST = 50  # nested collections; libyaml's composer recurses without a bound of its own
# YAML 1.1 wants a dot in 1e-4; everybody else reads a number
NUMBER = re.compile(
    r"[-+]?(?:\d[\d_]*\.[\d_]*(?:[eE][-+]?\d+)?|\d[\d_]*[eE][-+]?\d+|\.\d[\d_]*(?:[eE][-+]\d+)?"
    r"|\.(?:inf|Inf|INF))$|\.(?:nan|NaN|NAN)$"
)
FLOAT, TIMESTAMP, MERGE = (f"tag:yaml.org,2002:{name}" for name in ("float", "timestamp", "merge"))


class _Strict(SafeLoader):
    """Refuses a key that stands twice; a date stays the text it was written as."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in (FLOAT, TIMESTAMP)]
        for first, resolvers in SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key {key.value!r} stands twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_Strict.add_implicit_resolver(FLOAT, NUMBER, list("-+0123456789."))


def read(path: Path, *, largest_bytes: int = LARGEST_FILE_BYTES) -> Any:
    """What a YAML file holds: nested mappings, lists and plain values, or None if it is empty.

    Raises:
        DataError: it is missing, too large, not YAML or UTF-8, nested too deeply, or multiplies itself
            through aliases.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(largest_bytes + 1)
    except OSError as wrong:
        raise DataError(f"{path} cannot be read: {wrong.strerror}; give the path of a YAML file") from wrong
    if len(raw) > largest_bytes:
        raise DataError(
            f"{path} is too large: it may have {largest_bytes} bytes at most; is it another file?"
        )
    try:
        text = raw.decode("utf-8-sig")
        _measure(path, text)
        return yaml.load(text, Loader=_Strict)  # a SafeLoader: plain values, no objects
    except UnicodeDecodeError as wrong:
        raise DataError(
            f"{path} is no YAML: byte 0x{raw[wrong.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from wrong
    except (yaml.YAMLError, ValueError) as wrong:
        if isinstance(wrong, DataError):
            raise
        raise DataError(f"{path} is no YAML: {' '.join(str(wrong).split())}") from wrong


def _measure(path: Path, text: str) -> None:
    """Refuse what is too deep, or what aliases would expand to too much: on the event stream, before
    anything is built."""
    total = 0
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []  # anchor of a collection, and the total before it
    for event in yaml.parse(text, Loader=SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            total += _size(path, sizes, event.anchor)
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, total))
            total += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            sizes[anchor or ""] = total - before
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            sizes[event.anchor or ""] = 1
        if len(open_nodes) > DEEPEST:
            raise DataError(f"{path} is nested more than {DEEPEST} levels deep; write it flatter")
        if total > MOST_NODES:
            raise DataError(
                f"{path} expands to more than {MOST_NODES} values, aliases included; write it without "
                "aliases, or split it"
            )


def _size(path: Path, sizes: dict[str, int], anchor: str | None) -> int:
    if not anchor or anchor not in sizes:
        raise DataError(
            f"{path} is no YAML: *{anchor} names nothing that ends before it; write the value itself"
        )
    return sizes[anchor]
