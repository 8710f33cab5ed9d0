"""What models are asked, put together from files of the user: norms, another culture's, survey, lexicon."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from kalign.associations import affect, evaluate, norms, survey, tasks
from kalign.associations.evaluate import Questions
from kalign.associations.norms import Norms
from kalign.config import Associations, Recipe
from kalign.errors import ConfigError, DataError
from kalign.records import Message

FEELINGS = tuple(f"{name}={name}:1:9:1:9" for name in ("valence", "arousal", "dominance")) + (
    "concreteness=concreteness:1:5:1:5",
)
BUNDLED = "bundled:feelings"  # the lexicon whose scales FEELINGS are


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What norms are measured beside; None leaves a part out."""

    other: str | None = None
    other_culture: str = "other"
    other_where: Sequence[str] = ()
    survey: str | None = None
    language: str = "en"
    source: str = ""
    target: str = ""
    orders: int = 2
    lexicon: str | None = None
    lexicon_word: str = "word"
    scales: Sequence[str] = ()
    depths: Sequence[int] = ()
    compat: bool = False


def questions(
    recipe: Recipe,
    beside: Beside,
    *,
    settings: Associations | None = None,
    without: Collection[str] = (),
) -> Questions:
    """What is asked on the held-out cues of a recipe's norms.

    Args:
        settings: of the questions, where they are not the recipe's own.
        without: cues that are not asked.

    Raises:
        ConfigError: a file is missing, or a setting that one needs.
        DataError: a file is malformed, or no cue is left.
    """
    if not recipe.data.path:
        raise ConfigError(
            "data.path is not set; give the own culture's norms, such as data.path=bundled:hill"
        )
    own = norms.read(recipe.data.path, recipe.associations)
    other = None
    if beside.other:
        culture, where = beside.other_culture, beside.other_where
        other = norms.of_another(beside.other, recipe.associations, culture=culture, where=where)
    if beside.survey and not (beside.source and beside.target):
        raise ConfigError("survey=FILE needs source=COUNTRY and target=COUNTRY, between which answers lie")
    asked = evaluate.questions(
        own,
        other,
        settings or recipe.associations,
        seed=recipe.data.seed,
        without=without,
        items=survey.read(beside.survey, language=beside.language) if beside.survey else [],
        source=beside.source,
        target=beside.target,
        orders=beside.orders,
        lexicons=_lexicons(beside),
        depths=beside.depths,
        compat=beside.compat,
    )
    if not asked.lists:
        raise DataError(
            f"{recipe.data.path} has no held-out cue that no model was trained on; raise the last share of "
            "associations.split"
        )
    return asked


def trained(recipe: Recipe) -> list[str]:
    """The cues that a recipe trains on."""
    read = norms.read(str(recipe.data.path), recipe.associations)
    return tasks.split(read.counts, recipe.associations.split, seed=recipe.data.seed)["train"]


def held_out(recipe: Recipe, own: Norms) -> list[str]:
    """The cues that it never sees."""
    return tasks.split(own.counts, recipe.associations.split, seed=recipe.data.seed)["test"]


def example(cue: str, asked: Questions, recipe: Recipe) -> tuple[Message, ...]:
    """One question and its answer from the norms, to stand before each list that a base is asked for.

    Raises:
        ConfigError: the norms do not have the cue, or it is one that is asked.
    """
    groups = {one.group for one in asked.lists}
    if cue not in asked.own.counts or cue in groups:
        free = next((word for word in asked.own.counts if word not in groups), "none")
        raise ConfigError(
            f"shot={cue} must be a cue of {asked.own.where} that is not held out, such as {free}"
        )
    counts = asked.own.counts[cue]
    [shown] = tasks.generation(cue, cue, counts, asked.texts, recipe.associations, seed=asked.seed, copies=0)
    return (*shown.prompt, Message(role="assistant", content=str(shown.answer)))


def _lexicons(beside: Beside) -> Mapping[str, Mapping[str, float]]:
    if not beside.lexicon:
        return {}
    scales = beside.scales or (FEELINGS if beside.lexicon == BUNDLED else ())
    if not scales:
        raise ConfigError(
            f"lexicon={beside.lexicon} needs its scales; write scales=NAME=COLUMN:LOW:HIGH:TO_LOW:TO_HIGH, "
            "such as scales=valence=V.Mean.Sum:1:9:1:9, with commas between several"
        )
    return affect.lexicon(beside.lexicon, beside.lexicon_word, dict(map(affect.scale, scales)))
