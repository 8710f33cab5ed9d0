"""Survey items: read from WVS-like JSON, GlobalOpinionQA or generic rows, and answered by log-likelihood."""

import ast
import math
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kalign import files
from kalign.associations import tables
from kalign.associations.draws import chance_of
from kalign.associations.norms import BUNDLED
from kalign.associations.prompts import Prompts
from kalign.errors import ConfigError, DataError
from kalign.records import Message

Conversation = tuple[Message, ...]
# The log-probability of each answer after its conversation, summed over its tokens, in nats
LogProbs = Callable[[Sequence[Conversation], Sequence[str]], Sequence[float]]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One question: its options, whether they have an order, and how countries answer it (shares that add up
    to 1, in the order of the options).

    Raises:
        ValueError: there are fewer than two options, or shares do not fit them.
    """

    id: str
    question: str
    options: tuple[str, ...]
    shares: Mapping[str, tuple[float, ...]]
    ordinal: bool = True
    section: str | None = None

    def __post_init__(self) -> None:
        if len(self.options) < 2 or len(set(self.options)) < len(self.options):
            raise ValueError(f"item {self.id} needs two different options and more, not {list(self.options)}")
        for country, shares in self.shares.items():
            if len(shares) != len(self.options):
                raise ValueError(
                    f"item {self.id}: {country} has {len(shares)} shares for {len(self.options)} options"
                )
            if abs(sum(shares) - 1) > 1e-6 or min(shares) < 0:
                raise ValueError(f"item {self.id}: the shares of {country} do not add up to 1")


def read(path: str, *, language: str = "en") -> list[Item]:
    """The items of a file: a generic .jsonl, WVS items as a .json list, or GlobalOpinionQA as .csv or .jsonl.

    Args:
        language: of questions and options, where a file has several.

    Raises:
        ConfigError: the file's ending is none of these.
        DataError: an item is malformed; the message has its line or position.
    """
    place = BUNDLED / f"{path.removeprefix('bundled:')}.jsonl" if path.startswith("bundled:") else Path(path)
    place = place.expanduser()
    if place.suffix == ".jsonl":
        rows: Iterator[tuple[int, dict[str, Any]]] = files.read_jsonl(place)
    elif place.suffix == ".json":
        rows = files.read_json(place)
    elif place.suffix == ".csv":
        rows = tables.read(place).rows
    else:
        raise ConfigError(f"survey={path} ends in {place.suffix or 'nothing'}; use .jsonl, .json or .csv")
    return [_item(row, f"{place}:{number}", language) for number, row in rows]


def _item(row: dict[str, Any], where: str, language: str) -> Item:
    try:
        if "selections" in row:
            return _opinion(row, where)
        if "choices" in row:
            return _values(row)
        return _generic(row, language)
    except (KeyError, TypeError) as wrong:
        raise DataError(f"{where}: the item has no {wrong}") from wrong
    except (ValueError, SyntaxError, AttributeError) as wrong:
        raise DataError(f"{where}: {wrong}") from wrong


def _generic(row: dict[str, Any], language: str) -> Item:
    def said(value: Any) -> Any:
        return value[language] if isinstance(value, dict) else value

    missing = set(row.get("missing_codes", []))
    options = said(row["options"])
    for name, shares in row["dist"].items():
        if len(shares) != len(options):
            raise ValueError(f"item {row['id']}: {name} has {len(shares)} shares for {len(options)} options")
    kept = [place for place in range(len(options)) if place + 1 not in missing]
    return Item(
        id=str(row["id"]),
        question=said(row["question"]),
        options=tuple(options[place] for place in kept),
        shares={name: scaled([shares[place] for place in kept]) for name, shares in row["dist"].items()},
        ordinal=bool(row.get("ordinal", True)),
        section=row.get("section"),
    )


def _values(row: dict[str, Any]) -> Item:
    """An item of the WVS: each `NAME_score` maps the number of an option to its share."""
    choices = row["choices"]
    options = list(choices.values()) if isinstance(choices, dict) else list(choices)
    shares = {}
    for key, scores in row.items():
        if key.endswith("_score"):
            by_number = {int(option): float(share) for option, share in scores.items()}
            shares[key.removesuffix("_score")] = scaled(
                [by_number.get(number, 0.0) for number in range(1, len(options) + 1)]
            )
    return Item(id=str(row["Id"]), question=row["question"], options=tuple(map(str, options)), shares=shares)


def _opinion(row: dict[str, Any], where: str) -> Item:
    """A row of GlobalOpinionQA, whose `selections` is the printed form of a Python dictionary."""
    selections, options = row["selections"], row["options"]
    if isinstance(selections, str):
        selections = ast.literal_eval(
            re.sub(r"^defaultdict\(<class '\w+'>, (.*)\)$", r"\1", selections.strip())
        )
    if isinstance(options, str):
        options = ast.literal_eval(options)
    shares = {country: scaled([float(share) for share in given]) for country, given in selections.items()}
    return Item(
        id=str(row.get("id") or where.rpartition(":")[2]),
        question=row["question"],
        options=tuple(map(str, options)),
        shares=shares,
        ordinal=False,  # the source does not say which scales have an order
        section=row.get("source"),
    )


def scaled(shares: Sequence[float]) -> tuple[float, ...]:
    """Shares that add up to 1.

    Raises:
        ValueError: they are all zero.
    """
    total = sum(shares)
    if not total > 0:
        raise ValueError("all shares of an item are zero")
    return tuple(share / total for share in shares)


def orders(item: Item, count: int, *, seed: int) -> list[list[int]]:
    """The orders in which the options are shown: as they are, reversed, then shuffled; fewer where no more
    exist."""
    places = list(range(len(item.options)))
    made = [places, places[::-1]][:count]
    chance = chance_of(seed, item.id)
    while len(made) < min(count, math.factorial(len(places))):
        order = random.Random(chance.random()).sample(places, len(places))
        if order not in made:
            made.append(order)
    return made


def answered(
    items: Sequence[Item], logprobs: LogProbs, texts: Prompts, *, count: int, seed: int, letters: bool = False
) -> list[tuple[float, ...]]:
    """The share that a model gives each option, in the options' own order: the mean over orders of the
    softmax over the log-likelihoods of the options' texts, or of their letters."""
    asked: list[Conversation] = []
    replies: list[str] = []
    shown = [(number, order) for number, item in enumerate(items) for order in orders(item, count, seed=seed)]
    for number, order in shown:
        item = items[number]
        options = [item.options[place] for place in order]
        marked = (
            [f"{LETTERS[place]}. {option}" for place, option in enumerate(options)] if letters else options
        )
        joined = "\n".join(marked) if letters else texts.listed(options)
        conversation = texts.ask("survey", question=item.question, options=joined)
        asked += [conversation] * len(order)
        replies += list(LETTERS[: len(order)]) if letters else options
    found = iter(logprobs(asked, replies))
    sums = [[0.0] * len(item.options) for item in items]
    times = [0] * len(items)
    for number, order in shown:
        for place, share in zip(order, softmax([next(found) for _ in order]), strict=True):
            sums[number][place] += share
        times[number] += 1
    return [tuple(share / times[number] for share in total) for number, total in enumerate(sums)]


def softmax(values: Sequence[float]) -> list[float]:
    """Shares in proportion to the exponentials."""
    top = max(values)
    weights = [math.exp(value - top) for value in values]
    return [weight / sum(weights) for weight in weights]
