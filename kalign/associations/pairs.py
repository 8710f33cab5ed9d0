"""Preference pairs of norms, for DPO: better rankings against worse ones, the own culture against another."""

from collections.abc import Iterator, Sequence
from typing import Any

from kalign.associations import rewards, tasks
from kalign.associations.draws import chance_of
from kalign.associations.norms import Norms
from kalign.associations.prompts import Prompts
from kalign.config import Associations
from kalign.records import Message


def ranked(
    own: Norms, cues: Sequence[str], texts: Prompts, settings: Associations, *, seed: int
) -> Iterator[dict[str, Any]]:
    """The order of the counts against a random one that agrees less with them."""
    for example in tasks.rankings(own, cues, texts, settings, seed=seed):
        gold = list(example.gold["words"])
        worse = chance_of("worse", seed, example.id).sample(gold, len(gold))
        said = texts.ranked(worse)
        if worse != gold:
            yield _pair(example.id, example.group, own, example.prompt, str(example.answer), said) | {
                "score_chosen": 1.0,
                "score_rejected": rewards.strict(said, gold, marker=texts.marker),
                "rejected_kind": "ranking",
            }


def between(
    own: Norms, other: Norms, cues: Sequence[str], texts: Prompts, settings: Associations, *, seed: int
) -> Iterator[dict[str, Any]]:
    """What the own culture names for a cue against what the other one does, where both know it."""
    for cue in cues:
        theirs = other.counts.get(cue)
        if theirs is None:
            continue
        for example in tasks.generation(cue, cue, own.counts[cue], texts, settings, seed=seed, copies=1):
            length = len(str(example.answer).split(texts.separator))
            said = texts.listed(list(theirs)[:length])
            k = settings.top_k
            scores = [
                rewards.strength_recall(text, own.counts[cue], k=k) for text in (str(example.answer), said)
            ]
            if scores[0] > scores[1]:
                yield _pair(f"{example.id}:culture", cue, own, example.prompt, str(example.answer), said) | {
                    "score_chosen": scores[0],
                    "score_rejected": scores[1],
                    "rejected_kind": f"culture:{other.culture}",
                }


def _pair(
    identity: str, cue: str, own: Norms, prompt: Sequence[Message], chosen: str, rejected: str
) -> dict[str, Any]:
    return {
        "id": identity,
        "culture": own.culture,
        "cue": cue,
        "prompt": [{"role": turn.role, "content": turn.content} for turn in prompt],
        "chosen": chosen,
        "rejected": rejected,
    }
