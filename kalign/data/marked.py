"""What tags change of a training: which pairs are seen how often, and which markers stand in them.

All arms of a study train on pairs that would fit with all their markers, so that no arm loses others than
another; the held-out pairs are the same in each.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from kalign import files
from kalign.config import Data
from kalign.data import marking, tags
from kalign.data.ledger import Line
from kalign.data.pairs import Pair, Tokenises
from kalign.data.tags import Tags
from kalign.errors import DataError
from kalign.records import Triplet, UnusableTriplet, text

CULTURAL = "cultural"  # in a selection by culture: any class
OTHERS = "others"


@dataclass(frozen=True, kw_only=True)
class Marked:
    """The tags of a recipe's pairs, and what its settings make of them."""

    data: Data
    chat: Tokenises
    known: dict[str, Tags]

    @classmethod
    def read(cls, data: Data, chat: Tokenises) -> "Marked | None":
        """The tags that the recipe names; None where it names none.

        Raises:
            DataError: they cannot be read.
        """
        return cls(data=data, chat=chat, known=tags.read(Path(data.tags))) if data.tags else None

    def identity(self) -> dict[str, object]:
        """What a run notes of the tags."""
        path = str(self.data.tags)
        return {"path": path, "sha256": files.sha256(tags.sidecar(Path(path))), "rows": len(self.known)}

    def tags(self, triplet: Triplet) -> Tags:
        """The tags of a triplet's prompt.

        Raises:
            DataError: the file of tags does not know the prompt, so it is that of other data.
        """
        found = self.known.get(tags.key(text(triplet.prompt)))
        if found is None:
            raise DataError(
                f"data.tags={self.data.tags} has no tags for the prompt of {triplet.id}; make them from the "
                "same data: kalign tag data.path=..., with the column that holds the prompt"
            )
        return found

    def fits(self, line: Line, pair: Pair) -> bool:
        """Whether a pair is short enough with all its markers; notes it where it is not."""
        with_all = self._marked(pair.triplet, None)
        try:
            whole = self._pair(with_all)
        except UnusableTriplet as wrong:
            line.reason, line.detail = wrong.reason, f"with markers: {wrong}"
            return False
        longest = len(whole.prompt_ids) + max(len(whole.chosen_ids), len(whole.rejected_ids))
        if longest > self.data.max_length and not (line.chosen_truncated or line.rejected_truncated):
            line.reason, line.detail = "too_long_with_markers", f"{longest} tokens"
            return False
        return True

    def select(self, trained: Sequence[tuple[Line, Pair]]) -> None:
        """Set how often each pair is seen, by the selection and the arm; their number stays what `keep`
        leaves.

        Raises:
            DataError: a value that should have a share is held by no pair.
        """
        selection, markers = self.data.selection, self.data.markers
        by, shares = selection.by, dict(selection.shares)
        if markers.arm == "more_cultural_data":
            by, shares = "culture", {CULTURAL: markers.cultural_share}
        groups: dict[str, list[Line]] = {}
        for line, pair in trained:
            held = _named(self.tags(pair.triplet), selection.by)
            if selection.keep and not held & set(selection.keep):
                _leave_out(line)
            else:
                groups.setdefault(_group(_named(self.tags(pair.triplet), by), shares), []).append(line)
        if shares:
            resample(groups, shares, seed=self.data.seed)

    def train(self, line: Line, pair: Pair) -> list[Pair]:
        """The copies of a pair as they are trained on, each with markers of its own draw."""
        if self.data.markers.arm != "markers":
            return [pair] * line.copies
        markers = self.data.markers
        made = []
        for copy in range(line.copies):
            kept = marking.kept(
                markers.dimensions,
                dataset_dropout=markers.dataset_dropout,
                sample_dropout=markers.sample_dropout,
                draw=(self.data.seed, copy, line.id),
            )
            marked = self._pair(self._marked(pair.triplet, kept))
            if line.chosen_truncated or line.rejected_truncated:
                marked = _cut(marked, self.data.max_length)
            made.append(marked)
        return made

    def held_out(self, pair: Pair) -> Pair:
        """A held-out pair as it is scored: markers stand in its prompt in mode fixed only, never in its
        answers."""
        markers = self.data.markers
        if markers.mode != "fixed":
            return pair
        own = marking.values(self.tags(pair.triplet), markers.dimensions)
        values = {name: (value,) for name, value in markers.fixed.items()} or own
        marked = self._pair(marking.marked(pair.triplet, values, None, completion=False))
        return Pair(
            triplet=pair.triplet,
            prompt_ids=marked.prompt_ids,
            chosen_ids=pair.chosen_ids,
            rejected_ids=pair.rejected_ids,
        )

    def facts(self, trained: Sequence[tuple[Line, Pair]], seen: Sequence[Pair]) -> dict[str, int]:
        """What selection and markers did to size, duplicates and tokens; `seen` are the copies with their
        markers."""
        plain = sum(line.copies * _tokens(pair) for line, pair in trained)
        tagged = [(line, self.tags(pair.triplet)) for line, pair in trained]
        return {
            "trained on, copies counted": len(seen),
            "of them different pairs": sum(line.copies > 0 for line, _ in trained),
            "most copies of one pair": max((line.copies for line, _ in trained), default=0),
            "of them cultural": sum(line.copies for line, known in tagged if known.culture),
            "of them without known tags": sum(
                line.copies for line, known in tagged if known.status != tags.OK
            ),
            "tokens an epoch, without markers": plain,
            "tokens an epoch, with markers": sum(map(_tokens, seen)),
        }

    def _marked(self, triplet: Triplet, kept: Sequence[str] | None) -> Triplet:
        markers = self.data.markers
        values = marking.values(self.tags(triplet), markers.dimensions)
        return marking.marked(triplet, values, kept, completion=markers.completion)

    def _pair(self, triplet: Triplet) -> Pair:
        tokens = self.chat.tokens(triplet)
        return Pair(
            triplet=triplet, prompt_ids=tokens.prompt, chosen_ids=tokens.chosen, rejected_ids=tokens.rejected
        )


def resample(groups: Mapping[str, Sequence[Line]], shares: Mapping[str, float], *, seed: int) -> None:
    """Set the copies of each line so that each group gets its share of as many copies as there were, to the
    nearest whole one; OTHERS gets what is left of 1. Which lines get one more is decided by their ids.

    Raises:
        DataError: a group that should have a share has no line.
    """
    total = sum(line.copies for lines in groups.values() for line in lines)
    wanted = {**shares, OTHERS: 1 - sum(shares.values())}
    for name, count in _whole(wanted, total).items():
        lines = sorted(groups.get(name, ()), key=lambda line: sha256(f"{seed}:{line.id}".encode()).digest())
        places = [line for line in lines for _ in range(line.copies)]
        if count and not places:
            raise DataError(
                f"no pair to train on is {name}, which should have {count} of {total}; take its share away, "
                "or add such pairs"
            )
        for line in lines:
            line.copies = 0
        for place in range(count):
            places[place % len(places)].copies += 1
        for line in lines:
            if not line.copies:
                _leave_out(line)


def _whole(shares: Mapping[str, float], total: int) -> dict[str, int]:
    """The shares of `total` as whole numbers that add up to it; the largest remainders are rounded up."""
    exact = {name: max(0.0, share) * total for name, share in shares.items()}
    counts = {name: int(share + 1e-9) for name, share in exact.items()}
    left = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in left[: total - sum(counts.values())]:
        counts[name] += 1
    return counts


def _leave_out(line: Line) -> None:
    line.action, line.reason, line.copies = "drop", "selection", 0


def _named(known: Tags, dimension: str) -> set[str]:
    """What a selection may call the tags: their values, and `cultural` for any class of culture."""
    if known.status != tags.OK:
        return set()
    return {*known.values(dimension), *([CULTURAL] if dimension == "culture" and known.culture else [])}


def _group(held: Collection[str], shares: Mapping[str, float]) -> str:
    """The first value with a share that a pair holds: one of several values counts once."""
    return next((value for value in shares if value in held), OTHERS)


def _tokens(pair: Pair) -> int:
    """How many tokens are read of a pair: its prompt stands before each answer."""
    answers = 2 if pair.triplet.rejected else 1
    return answers * len(pair.prompt_ids) + len(pair.chosen_ids) + len(pair.rejected_ids)


def _cut(pair: Pair, length: int) -> Pair:
    room = length - len(pair.prompt_ids)
    return Pair(
        triplet=pair.triplet,
        prompt_ids=pair.prompt_ids,
        chosen_ids=pair.chosen_ids[:room],
        rejected_ids=pair.rejected_ids[:room],
    )
