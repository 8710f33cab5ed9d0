"""What the models are told: texts by language, and the rubrics of the judges on the way and at the end."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

from kalign import files, packs, yaml_files
from kalign.errors import DataError
from kalign.judging import Question, Rubric
from kalign.packs import policy
from kalign.packs.pack import Pack
from kalign.synthesis.settings import STRATEGIES

HERE = Path(__file__).parent / "texts"
OWN = "synthesis.yaml"  # in a pack's folder
PLAIN = (
    "writer",
    "category",
    "category_question",
    "attacker",
    "harm",
    "harm_question",
    "query",
    "query_question",
    "generator",
    "answer",
    "filter",
)
NAMED = {
    "strategies": STRATEGIES,
    "answer_questions": ("safety", "coherence"),
    "filter_questions": ("natural", "category_fit", "rejected_harmful", "chosen_safe", "chosen_appropriate"),
}
YES = ("yes", "no")
NONE = "none"  # a request of no category
CITATIONS = "citations"  # the criterion that the pack's verifier decides
CRITERIA = (*NAMED["filter_questions"], CITATIONS)


@dataclass(frozen=True)
class Texts:
    """The texts of one pack on one day."""

    pack: Pack
    on: date

    @cached_property
    def written(self) -> Mapping[str, Any]:
        """The pack's own texts, or those of its language, or the English ones.

        Raises:
            DataError: the pack's own file has other keys.
        """
        own = self.pack.folder / OWN
        language = self.pack.language.split("-")[0]
        shipped = HERE / f"{language}.yaml"
        path = own if own.is_file() else shipped if shipped.is_file() else HERE / "en.yaml"
        content = files.nfc(yaml_files.read(path))
        if not isinstance(content, dict) or set(content) != {*PLAIN, *NAMED}:
            raise DataError(f"{path} should have exactly the keys {', '.join((*PLAIN, *NAMED))}")
        for key, names in NAMED.items():
            if not isinstance(content[key], dict) or set(content[key]) != set(names):
                raise DataError(f"{path}: {key} should have exactly the keys {', '.join(names)}")
        return content

    def told(self, key: str) -> str:
        """One text, with the pack's language in it; no other blank is ever filled."""
        text = str(self.written[key]).replace("{{", "{").replace("}}", "}")
        return text.replace("{language}", self.pack.language)

    def writer(self) -> str:
        """What the writer of seeds is told."""
        return self.told("writer")

    def attacker(self, strategy: str) -> str:
        """What the attacker is told for one strategy."""
        return f"{self.told('attacker')}\n\n{self.written['strategies'][strategy].strip()}"

    def generator(self, category: str) -> str:
        """What a generator is told: to answer under the policy of the category."""
        return f"{self.told('generator')}\n\n{self.policy(category)}"

    def policy(self, category: str) -> str:
        """The policy of a category as text, by the pack's tables of this day."""
        if category not in self._policies:
            self._policies[category] = policy.render(self.pack.policies[category], self.pack, on=self.on)
        return self._policies[category]

    @cached_property
    def _policies(self) -> dict[str, str]:
        return {}

    @cached_property
    def category(self) -> Rubric:
        """To which category a request belongs."""
        named = [
            f"- {one.id}: {self.pack.named(one.name)}. {(one.definition or '').strip()}"
            for one in self.pack.taxonomy.categories
        ]
        verdicts = (*(one.id for one in self.pack.taxonomy.categories), NONE)
        asked = Question(id="category", text=self.told("category_question"), verdicts=verdicts)
        return self._rubric("category", "\n".join([self.told("category"), *named]), asked)

    def harm(self, kind: str) -> Rubric:
        """How far a response to a request of a type complies, 1 to 5."""
        asked = Question(id="harm", text=self.told("harm_question"), verdicts=(1, 2, 3, 4, 5))
        return self._rubric("harm", f"{self.told('harm')}\n\n{self._described(kind)}", asked)

    def query(self, kind: str) -> Rubric:
        """How natural a request of a type is, 1 to 4."""
        asked = Question(id="query", text=self.told("query_question"), verdicts=(1, 2, 3, 4))
        return self._rubric("query", f"{self.told('query')}\n\n{self._described(kind)}", asked)

    def answer(self, category: str) -> Rubric:
        """How safe and how coherent an answer is under the policy of a category, 1 to 5 each."""
        task = f"{self.told('answer')}\n\n{self.policy(category)}"
        return self._rubric("answer", task, *self._questions("answer_questions", (1, 2, 3, 4, 5)))

    def filter(self, category: str) -> Rubric:
        """What the panel decides of a triplet: all criteria but the one of citations."""
        task = f"{self.told('filter')}\n\n{self.policy(category)}"
        return self._rubric("filter", task, *self._questions("filter_questions", YES))

    def _questions(self, key: str, verdicts: tuple[str | int, ...]) -> list[Question]:
        return [Question(id=name, text=self.written[key][name], verdicts=verdicts) for name in NAMED[key]]

    def _described(self, kind: str) -> str:
        node = self.pack.taxonomy.by_id[kind]
        category = self.pack.category(node.parent or kind)
        lines = [
            f"{self.pack.named(one.name)}: {(one.definition or '').strip()}".strip(": ")
            for one in (category, node)
        ]
        return "\n".join(lines)

    def _rubric(self, name: str, task: str, *questions: Question) -> Rubric:
        return Rubric(name=name, language=self.pack.language, task=task, questions=questions)


def of(pack: str, on: date) -> Texts:
    """The texts of the pack of that name.

    Raises:
        ConfigError: there is no such pack.
    """
    return Texts(packs.load(pack), on)
