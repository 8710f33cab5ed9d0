"""What a model makes of held-out examples: its answers, and how likely it finds the right ones."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from kalign.config import Recipe
from kalign.data import marking
from kalign.data.examples import Example, Examples
from kalign.models.chat import Chat
from kalign.records import Message
from kalign.statistics import mean_interval, paired_difference
from kalign.training import held_out, written
from kalign.training.steady import Steady


@dataclass(frozen=True, kw_only=True)
class Look:
    """One model's answers to the held-out examples that are asked, and its view of the right ones."""

    said: list[str] = field(default_factory=list)  # with whatever markers the model wrote
    nats: list[float] = field(default_factory=list)  # a token of each right answer costs, where there is one

    @property
    def answers(self) -> list[str]:
        """What it answered, as anybody may score it."""
        return list(map(marking.strip_markers, self.said))


NOTHING = Look()


def look(recipe: Recipe, trainer: Steady, chat: Chat, examples: Examples, *, adapter: bool) -> Look:
    """Let the model answer held-out examples, greedily; of examples made of pairs, score the right answers
    too."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    batch, autocast = recipe.trainer.per_device_eval_batch_size, trainer.accelerator.autocast
    said = held_out.answers(
        model,
        [_prompt_ids(example, chat) for example in asked(recipe, examples)],
        chat.tokenizer,
        turn_end=chat.turn_end_id,
        max_new_tokens=recipe.evaluation.max_new_tokens,
        batch=batch,
        adapter=adapter,
        autocast=autocast,
    )
    if examples.pairs is None:
        return Look(said=said)
    wrote = list(map(_own_markers, said)) if _inferred(recipe) else [""] * len(examples.held_out)
    rows = [_row(example, chat, own) for example, own in zip(examples.held_out, wrote, strict=True)]
    pad = int(chat.tokenizer.pad_token_id)
    logps = held_out.logps(model, rows, pad=pad, batch=batch, adapter=adapter, autocast=autocast)
    return Look(said=said, nats=[-logp / len(answer) for logp, (_, answer) in zip(logps, rows, strict=True)])


def asked(recipe: Recipe, examples: Examples) -> Sequence[Example]:
    """The held-out examples that are answered: all of them if the recipe says so, or if the model's own
    markers decide what follows; else a few."""
    every = recipe.evaluation.held_out_prompts or (examples.pairs is not None and _inferred(recipe))
    return examples.held_out if every else examples.held_out[: recipe.evaluation.generations]


def likelihoods(examples: Examples, before: Look, after: Look) -> dict[str, Any]:
    """What a token of the right answers costs before and after, in nats, with 95 % bootstrap intervals over
    groups of examples."""
    if not after.nats:
        return {}
    clusters = [example.group for example in examples.held_out]
    return {
        "nats_a_token": {
            "before": asdict(mean_interval(before.nats, clusters=clusters)),
            "after": asdict(mean_interval(after.nats, clusters=clusters)),
            "change": asdict(paired_difference(before.nats, after.nats, clusters=clusters)),
        }
    }


def markers(recipe: Recipe, examples: Examples, after: Look) -> dict[str, Any] | None:
    """How often the markers that the model wrote are those of the tags; None where nothing was tagged."""
    if examples.pairs is None:
        return None
    return written.compared(recipe, examples.pairs.held_out[: len(after.said)], after.said)


def _inferred(recipe: Recipe) -> bool:
    return recipe.data.markers.mode == "inferred"


def _prompt_ids(example: Example, chat: Chat) -> list[int]:
    return example.pair.prompt_ids if example.pair else chat.prompt_ids(example.prompt)


def _own_markers(said: str) -> str:
    return said[: len(said) - len(marking.strip_markers(said))]


def _row(example: Example, chat: Chat, own: str) -> tuple[list[int], list[int]]:
    """What stands before the right answer, with the markers that the model wrote itself, and the answer."""
    assert example.pair is not None  # made of pairs
    prompt, answer = example.pair.prompt_ids, example.pair.chosen_ids
    if not own:
        return prompt, answer
    plain = example.pair.triplet
    _, alone = chat.exchange_ids(plain.prompt, (Message(role="assistant", content=own.rstrip()),))
    _, whole = chat.exchange_ids(plain.prompt, marking.before(plain.chosen, f"{own.rstrip()}\n"))
    shared = next(place for place, (one, other) in enumerate(zip(alone, whole, strict=False)) if one != other)
    return prompt + whole[:shared], whole[shared:]
