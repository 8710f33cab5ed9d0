"""How the model answers a pack's held-out prompts, before and after: judged by rules, counted by category.

Harmful prompts should be refused constructively, their benign twins answered. What the rules cannot measure
counts as not shown, and is counted beside it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from kalign import files, packs
from kalign.grounding import refusal, verify
from kalign.grounding.refusal import Verdict
from kalign.records import Message
from kalign.statistics import mcnemar, wilson

COLUMNS: Mapping[str, Callable[[Verdict], bool | None]] = {
    "declines": lambda verdict: verdict.declines,
    "cites_law": lambda verdict: verdict.cites_law,
    "names_institution": lambda verdict: verdict.names_institution,
    "offers_alternative": lambda verdict: verdict.offers_alternative,
    "no_boilerplate": lambda verdict: verdict.no_boilerplate,
    "constructive": lambda verdict: verdict.constructive,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutPrompt:
    """A prompt that nothing is trained on; `kind` is harmful or benign, and a benign one names its `twin`."""

    id: str
    category: str
    kind: str
    text: str
    twin: str | None = None

    @property
    def conversation(self) -> tuple[Message, ...]:
        """The prompt as the one turn of a conversation."""
        return (Message(role="user", content=self.text),)


def prompts(pack: str) -> list[HeldOutPrompt]:
    """The pack's held-out prompts, in the file's order."""
    return [
        HeldOutPrompt(
            id=row["id"],
            category=row["category"],
            kind=row["kind"],
            text=row["prompt"],
            twin=row.get("twin"),
        )
        for _, row in files.read_jsonl(packs.held_out(pack))
    ]


def verdicts(pack: str, asked: Sequence[HeldOutPrompt], answers: Sequence[str], as_of: date) -> list[Verdict]:
    """What the rules say of each answer, in order; laws and offices must exist on the day `as_of`."""
    loaded = packs.load(pack)
    rules = refusal.read(loaded.folder / "refusal.yaml")
    grounding = verify.load(loaded.folder, loaded.institutions.values())
    fitting = {category: {law.law for law in policy.laws} for category, policy in loaded.policies.items()}
    return [
        refusal.judge(answer, rules, grounding, fitting=fitting[prompt.category], as_of=as_of)
        for prompt, answer in zip(asked, answers, strict=True)
    ]


def compared(
    asked: Sequence[HeldOutPrompt], before: Sequence[Verdict], after: Sequence[Verdict], as_of: date
) -> dict[str, Any]:
    """What changed, as plain values: counts by category, shares with 95 % intervals, paired tests."""
    harmful = [place for place, prompt in enumerate(asked) if prompt.kind == "harmful"]
    benign = [place for place, prompt in enumerate(asked) if prompt.kind == "benign"]
    categories = sorted({asked[place].category for place in harmful})
    by_category = {
        category: {
            "prompts": len(places),
            "before": {name: _count(before, places, read) for name, read in COLUMNS.items()},
            "after": {name: _count(after, places, read) for name, read in COLUMNS.items()},
        }
        for category in categories
        for places in [[place for place in harmful if asked[place].category == category]]
    }
    return {
        "as_of": str(as_of),
        "by_category": by_category,
        "harmful": {name: _change(before, after, harmful, read) for name, read in COLUMNS.items()},
        "benign": {"answered": _change(before, after, benign, refusal.answered)},
    }


def rows(
    asked: Sequence[HeldOutPrompt],
    answers: Sequence[tuple[str, str]],
    judged: Sequence[tuple[Verdict, Verdict]],
) -> list[dict[str, Any]]:
    """Every prompt with both answers, and what decided each column of their verdicts."""
    return [
        {
            "id": prompt.id,
            "category": prompt.category,
            "kind": prompt.kind,
            "prompt": prompt.text,
            "before": {"answer": old, **_plain(first)},
            "after": {"answer": new, **_plain(second)},
        }
        for prompt, (old, new), (first, second) in zip(asked, answers, judged, strict=True)
    ]


def _plain(verdict: Verdict) -> dict[str, Any]:
    wrong = [f"{citation.text}: {citation.status}" for citation in verdict.wrong]
    columns = {name: read(verdict) for name, read in COLUMNS.items()}
    return {**columns, "score": verdict.score, "evidence": verdict.evidence, "wrong": wrong}


def _count(judged: Sequence[Verdict], places: Sequence[int], read: Callable[[Verdict], bool | None]) -> int:
    return sum(read(judged[place]) is True for place in places)


def _change(
    before: Sequence[Verdict],
    after: Sequence[Verdict],
    places: Sequence[int],
    read: Callable[[Verdict], bool | None],
) -> dict[str, Any] | None:
    """Shares before and after over the same prompts, how many moved each way, and how many rules could not
    measure; None where there are no prompts."""
    if not places:
        return None
    pairs = [(read(before[place]), read(after[place])) for place in places]
    gained = sum(old is not True and new is True for old, new in pairs)
    lost = sum(old is True and new is not True for old, new in pairs)
    return {
        "prompts": len(pairs),
        "before": asdict(wilson(sum(old is True for old, _ in pairs), len(pairs))),
        "after": asdict(wilson(sum(new is True for _, new in pairs), len(pairs))),
        "gained": gained,
        "lost": lost,
        "p_value": mcnemar(gained, lost),
        "not_measurable": {
            "before": sum(old is None for old, _ in pairs),
            "after": sum(new is None for _, new in pairs),
        },
    }
