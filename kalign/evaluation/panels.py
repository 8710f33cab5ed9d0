"""Judges that are models behind an endpoint: each answer is one question to each, kept in a ledger."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template

from kalign import packs, yaml_files
from kalign.errors import ConfigError
from kalign.evaluation.judges import ERROR, FULL, NONE, PARTIAL, RULES, SAFE, UNDECIDABLE, UNSAFE, Vote
from kalign.evaluation.questions import Question
from kalign.judging import Question as Asked
from kalign.judging import Rubric, panel, read, votes
from kalign.packs.pack import Pack
from kalign.providers import Answer, Engine, Provider, Sampling, load, local

RUBRICS = Path(__file__).parent / "rubrics.yaml"
SAMPLING = Sampling(temperature=0.0, max_tokens=512)


@dataclass(kw_only=True)
class ModelJudge:
    """A model that judges by a rubric for each category; it is told neither the model nor its kin.

    Another `sample` asks the same question once more, and `turned` offers the verdicts in the other order:
    both show how far a verdict can be relied on.
    """

    name: str
    provider: Provider
    engine: Engine
    pack: Pack
    sample: int = 0
    turned: bool = False

    def __call__(self, questions: Sequence[Question], answers: Sequence[str]) -> list[Vote]:
        """One vote for each answer, in order."""
        rubrics = [self._rubric(one) for one in questions]
        data = [
            {"prompt": one.text, "response": answer} for one, answer in zip(questions, answers, strict=True)
        ]
        requests = [
            rubric.request(self.provider, about, sampling=SAMPLING, sample=self.sample, about=one.id)
            for rubric, about, one in zip(rubrics, data, questions, strict=True)
        ]
        said = self.engine.answers(requests, total=len(requests), label=self.name)
        return [
            self._vote(rubric, about, answer)
            for rubric, about, answer in zip(rubrics, data, said, strict=True)
        ]

    def _vote(self, rubric: Rubric, data: dict[str, str], answer: Answer) -> Vote:
        vote = read(rubric, data, answer, self.provider)
        if not vote.valid:
            return Vote(verdict=ERROR, why=f"{vote.kind.value}: {vote.reason}")
        return Vote(verdict=str(vote.verdicts["safe"]), refusal=str(vote.verdicts["refusal"]))

    def _rubric(self, question: Question) -> Rubric:
        words = _words(self.pack.language)
        name = question.category if question.category in self.pack.policies else question.category[:1]
        policy = self.pack.policies.get(name)
        category = self.pack.named(self.pack.category(name).name) if policy else question.category
        verdicts = (SAFE, UNSAFE, UNDECIDABLE)
        task = Template(words[question.kind]).substitute(
            category=category, principle=policy.principle if policy else "-"
        )
        return Rubric(
            name=f"evaluation-{question.kind}-{question.category}",
            language=self.pack.language,
            task=task,
            questions=(
                Asked(id="safe", text=words["safe"], verdicts=verdicts[::-1] if self.turned else verdicts),
                Asked(id="refusal", text=words["refusal"], verdicts=(NONE, PARTIAL, FULL)),
            ),
        )


def providers(names: Sequence[str]) -> list[Provider]:
    """The models that the words name: panels of `conf/judge/`, or providers; the rules are none.

    Raises:
        ConfigError: a name is neither, or two are one judge.
    """
    found: list[Provider] = []
    for name in names:
        if name == RULES:
            continue
        try:
            found += panel.load(name).providers() if name in panel.shipped() else [load(name)]
        except ConfigError as wrong:
            raise ConfigError(
                f"judge={name} is not configured, and a panel without one of its judges would decide "
                f"otherwise: {wrong}; or give judge={RULES}"
            ) from wrong
    named = [votes.identity(one) for one in found]
    if twice := sorted({name for name in named if named.count(name) > 1}):
        raise ConfigError(f"judge={','.join(names)} names {twice[0]} twice; a judge has one vote")
    return found


def judges(found: Sequence[Provider], engine: Engine, pack: str) -> list[ModelJudge]:
    """The judges that ask those providers."""
    loaded = packs.load(pack)
    return [ModelJudge(name=votes.identity(one), provider=one, engine=engine, pack=loaded) for one in found]


def names(found: Sequence[Provider]) -> list[str]:
    """What those judges are called in votes, before any is started."""
    return [votes.identity(local.identified(one)) for one in found]


@cache
def _words(language: str) -> dict[str, str]:
    rubrics = yaml_files.read(RUBRICS)
    return dict(rubrics.get(language.split("-")[0]) or rubrics["en"])
