"""How a task is put to a model: one YAML file for each language, or one of the user's own."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import yaml

from kalign.errors import ConfigError
from kalign.records import Message

FOLDER = Path(__file__).parent / "prompts"
PARTS = {
    "generation": ("system", "instruction", "input"),
    "ranking": ("system", "instruction", "input", "marker", "line"),
    "participant": ("system", "instruction", "input", "nothing"),
    "survey": ("system", "input"),
}


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """The texts of one language."""

    name: str
    separator: str
    tasks: Mapping[str, Mapping[str, str]]

    def ask(self, task: str, **values: Any) -> tuple[Message, ...]:
        """The conversation that puts one question of a task."""
        texts = self.tasks[task]
        filled = [
            Template(texts[part]).substitute(values) for part in ("instruction", "input") if part in texts
        ]
        system = (Message(role="system", content=texts["system"]),) if texts["system"] else ()
        return (*system, Message(role="user", content="\n".join(filled)))

    def listed(self, words: list[str]) -> str:
        """Words as one answer of the generation task."""
        return self.separator.join(words)

    def ranked(self, words: list[str]) -> str:
        """Words in their order as one answer of the ranking task."""
        texts = self.tasks["ranking"]
        lines = [
            Template(texts["line"]).substitute(rank=rank, word=word)
            for rank, word in enumerate(words, start=1)
        ]
        return "\n".join([texts["marker"], *lines])

    @property
    def marker(self) -> str:
        """What stands in front of a ranking, without its colon."""
        return self.tasks["ranking"]["marker"].rstrip(":： ")

    @property
    def nothing(self) -> str:
        """What a participant writes where nothing comes to mind."""
        return self.tasks["participant"]["nothing"]


def load(name: str) -> Prompts:
    """The prompts of a shipped language, or those in a file of the user's own.

    Raises:
        ConfigError: there are none, or a text is missing.
    """
    path = Path(name).expanduser() if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in FOLDER.glob("*.yaml")))
        raise ConfigError(
            f"associations.prompts={name} is unknown; use one of {shipped}, or the path of a file"
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as wrong:
        raise ConfigError(f"{path} is no YAML: {' '.join(str(wrong).split())}") from wrong
    if not isinstance(content, dict) or not isinstance(content.get("separator"), str):
        raise ConfigError(f"{path} has no separator; copy {FOLDER / 'en.yaml'} and translate it")
    for task, parts in PARTS.items():
        for part in parts:
            if not isinstance((content.get(task) or {}).get(part), str):
                raise ConfigError(f"{path} has no text {task}.{part}; copy it from {FOLDER / 'en.yaml'}")
    return Prompts(name=name, separator=content["separator"], tasks={task: content[task] for task in PARTS})
