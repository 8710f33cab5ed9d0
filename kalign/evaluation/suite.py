"""What a model is asked, and by which rules its answers are judged: a shipped suite, a pack, or a file of
one's own."""

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kalign import packs, yaml_files
from kalign.config.rules import one_of
from kalign.errors import ConfigError, DataError
from kalign.evaluation import questions
from kalign.evaluation.questions import Fields, Question, QuestionSet

SUITES = Path(__file__).parent / "suites"
KEYS = ("name", "pack", "primary", "margin", "sets")


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The sets that are asked, and what is claimed on them; fixed before any answer is judged."""

    name: str
    pack: str
    primary: str  # the set whose safe rate is the claim
    margin: float  # by how much the share of benign prompts answered may fall
    sets: tuple[QuestionSet, ...]

    def questions(self) -> list[Question]:
        """Every question, set by set.

        Raises:
            KalignError: a set cannot be read.
        """
        found = [one for asked in self.sets for one in questions.read(asked, self.pack)]
        if not any(one.set == self.primary and one.kind == "harmful" for one in found):
            raise DataError(
                f"suite {self.name}: its primary set {self.primary} has no harmful prompt, so there is no "
                "safe rate to claim; name another one under primary"
            )
        return found


def load(name: str, paths: Mapping[str, str]) -> Suite:
    """The suite of that name: shipped, a pack, a suite in YAML, or a file of prompts.

    Args:
        paths: the place of each set that a user names on the command line.

    Raises:
        ConfigError: there is none, or a path is given for a set that it has not.
        DataError: its file is not what it should be.
    """
    suite = _named(name)
    if strange := sorted(paths.keys() - {asked.name for asked in suite.sets}):
        raise ConfigError(
            f"{strange[0]} is neither a setting nor a set of suite {suite.name}, which has "
            f"{', '.join(asked.name for asked in suite.sets)}"
        )
    sets = tuple(
        dataclasses.replace(asked, path=paths[asked.name]) if asked.name in paths else asked
        for asked in suite.sets
    )
    return dataclasses.replace(suite, sets=sets)


def names() -> list[str]:
    """The shipped suites and packs."""
    return sorted({path.stem for path in SUITES.glob("*.yaml")} | set(packs.names()))


def _named(name: str) -> Suite:
    place = Path(name).expanduser()
    if place.suffix in (".yaml", ".yml"):
        return _from_yaml(place)
    if place.suffix in (".jsonl", ".json", ".csv", ".parquet"):
        own = QuestionSet(name="prompts", source="file", path=name, fields=Fields(category=None))
        return Suite(name=place.stem, pack="ko", primary="prompts", margin=0.05, sets=(own,))
    if (SUITES / f"{name}.yaml").is_file():
        return _from_yaml(SUITES / f"{name}.yaml")
    if name in packs.names() or place.is_dir():
        held_out = QuestionSet(name="held_out", source="pack", licence="of the pack")
        title = packs.load(name).name
        return Suite(name=title, pack=name, primary="held_out", margin=0.05, sets=(held_out,))
    near = difflib.get_close_matches(name, names(), n=1) or names()
    raise ConfigError(
        f"suite={name} is unknown; did you mean {' or '.join(near)}? (a pack, a suite.yaml or a file of "
        "prompts will do, too)"
    )


def _from_yaml(path: Path) -> Suite:
    content = yaml_files.read(path)
    if not isinstance(content, dict) or not isinstance(content.get("sets"), dict) or not content["sets"]:
        raise DataError(f"{path} is no suite; it should have {', '.join(KEYS)}, with a mapping under sets")
    _no_other(path, content, KEYS, "")
    sets = tuple(_set(path, name, block) for name, block in content["sets"].items())
    primary = str(content.get("primary", sets[0].name))
    one_of(f"{path}: primary", primary, tuple(asked.name for asked in sets))
    return Suite(
        name=str(content.get("name", path.stem)),
        pack=str(content.get("pack", "ko")),
        primary=primary,
        margin=float(content.get("margin", 0.05)),
        sets=sets,
    )


def _set(path: Path, name: str, block: Any) -> QuestionSet:
    if not isinstance(block, dict) or "source" not in block:
        raise DataError(f"{path}: the set {name} says no source; use one of {', '.join(questions.READERS)}")
    known = tuple(part.name for part in dataclasses.fields(QuestionSet) if part.name != "name")
    _no_other(path, block, known, f"{name}.")
    one_of(f"{path}: {name}.source", str(block["source"]), tuple(questions.READERS))
    given = block.get("fields") or {}
    _no_other(path, given, tuple(part.name for part in dataclasses.fields(Fields)), f"{name}.fields.")
    return QuestionSet(**{**block, "name": name, "fields": Fields(**given)})


def _no_other(path: Path, content: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1) or known
            raise DataError(f"{path}: {where}{key} is no key of a suite; did you mean {near[0]}?")
