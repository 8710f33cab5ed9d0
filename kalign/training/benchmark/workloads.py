"""What the arms are timed on: shapes of models with random weights, and pairs of random tokens."""

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

Pair = dict[str, list[int]]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A Llama of a shape, and the pairs of one micro-batch."""

    name: str
    hidden: int
    layers: int
    heads: int
    key_heads: int
    intermediate: int
    vocabulary: int
    pairs: int
    prompt: tuple[int, int]  # the shortest and the longest, in tokens
    answer: tuple[int, int]
    micro_batches: int = 1  # different ones, timed in turn
    window: bool = False  # all of them are one optimizer step
    sweep: str | None = None  # what it varies, if it is one point of a sweep

    def settings(self) -> dict[str, Any]:
        """The shape by transformers' names."""
        return {
            "vocab_size": self.vocabulary,
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_heads,
            "max_position_embeddings": 8192,
            "pad_token_id": 0,
        }

    def batches(self) -> list[list[Pair]]:
        """The micro-batches, the same at every call."""
        chance = random.Random(self.name)

        def tokens(low: int, high: int) -> list[int]:
            return [chance.randrange(10, self.vocabulary) for _ in range(chance.randint(low, high))]

        return [
            [
                {
                    "prompt_ids": tokens(*self.prompt),
                    "chosen_ids": tokens(*self.answer),
                    "rejected_ids": tokens(*self.answer),
                }
                for _ in range(self.pairs)
            ]
            for _ in range(self.micro_batches)
        ]

    def steps(self) -> list[list[list[Pair]]]:
        """The micro-batches of each optimizer step that is timed."""
        made = self.batches()
        return [made] if self.window else [[one] for one in made]

    def as_dict(self) -> dict[str, Any]:
        """For the document."""
        return asdict(self)


MAIN = Workload(
    name="H=512 L=8 V=8k",
    hidden=512,
    layers=8,
    heads=8,
    key_heads=2,
    intermediate=1408,
    vocabulary=8192,
    pairs=2,
    prompt=(540, 660),
    answer=(140, 180),
)
SMALL = replace(
    MAIN, hidden=256, layers=4, heads=4, intermediate=704, prompt=(300, 300), answer=(80, 80), pairs=2
)


def _swept(what: str, value: Any, **changed: Any) -> Workload:
    return replace(SMALL, name=f"{what} {value}", sweep=what, **changed)


CPU = (
    MAIN,
    replace(MAIN, name="H=512 L=8 V=32k", vocabulary=32768),
    replace(
        SMALL,
        name="a step of 16 pairs, short and long",
        prompt=(20, 500),
        answer=(10, 200),
        micro_batches=8,
        window=True,
    ),
    *(_swept("prompt", tokens, prompt=(tokens, tokens)) for tokens in (16, 300, 900)),
    *(_swept("answer", tokens, answer=(tokens, tokens)) for tokens in (20, 80, 240)),
    *(_swept("pairs", pairs, pairs=pairs, prompt=(150, 450), answer=(40, 120)) for pairs in (1, 4)),
    *(
        _swept("vocabulary", size, vocabulary=size, layers=2, prompt=(100, 100), answer=(60, 60))
        for size in (8192, 102_400, 262_144)
    ),
)
# The shape of Llama-3.1-8B; prompts and answers as in the paper's data
EIGHT_BILLION = Workload(
    name="8B, P=1300",
    hidden=4096,
    layers=32,
    heads=32,
    key_heads=8,
    intermediate=14336,
    vocabulary=128_256,
    pairs=4,
    prompt=(900, 1700),
    answer=(200, 600),
    micro_batches=8,
)
GPU = (
    EIGHT_BILLION,
    replace(
        EIGHT_BILLION,
        name="8B, a step of 32 pairs, short and long",
        prompt=(50, 2000),
        answer=(20, 600),
        window=True,
    ),
    replace(EIGHT_BILLION, name="8B, P=300", sweep="prompt", prompt=(200, 400)),
    replace(EIGHT_BILLION, name="8B, P=1800", sweep="prompt", prompt=(1500, 2100)),
)
TIERS: Mapping[str, tuple[Workload, ...]] = {"cpu": CPU, "gpu": GPU}
