"""Asking a model behind an endpoint: vLLM, an API, or a server that kalign starts on this machine."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from kalign.errors import ProviderError
from kalign.evaluation.questions import Question
from kalign.providers import Engine, Provider, Request, Sampling, Status
from kalign.records import Said

AT_ONCE = 64  # answers that are written together
SAYING = (
    Status.OK,
    Status.TRUNCATED,
    Status.EMPTY,
    Status.REFUSED,
    Status.BLOCKED,
)  # the model's answer, or its refusal


class Endpoint:
    """A model that answers over the network; every answer is kept in the engine's ledger too."""

    def __init__(self, provider: Provider, engine: Engine, *, max_new_tokens: int) -> None:
        self.provider = provider
        self.engine = engine
        self.max_new_tokens = max_new_tokens

    def identity(self) -> dict[str, Any]:
        """What decides how it is asked."""
        return {"max_new_tokens": self.max_new_tokens, "decoding": "greedy", "batch": AT_ONCE}

    def groups(self, questions: Sequence[Question]) -> list[list[int]]:
        """The places of the questions that are written together."""
        return [
            list(range(start, min(start + AT_ONCE, len(questions))))
            for start in range(0, len(questions), AT_ONCE)
        ]

    def answer(self, questions: Sequence[Question], *, adapter: bool) -> list[Said]:
        """What the model says, in order.

        Raises:
            ProviderError: some questions have no answer, be it a refusal.
        """
        sampling = Sampling(temperature=0.0, max_tokens=self.max_new_tokens)
        requests = [
            Request(provider=self.provider, messages=one.conversation, sampling=sampling, about=one.id)
            for one in questions
        ]
        answers = list(self.engine.answers(requests, total=len(requests), label=self.provider.name))
        if silent := Counter(one.status.value for one in answers if one.status not in SAYING):
            kinds = ", ".join(f"{count} {status}" for status, count in silent.most_common())
            raise ProviderError(
                f"{self.provider.name} left {silent.total()} of {len(questions)} prompts without an answer "
                f"({kinds}); run the same command again, or mend its file in conf/provider/"
            )
        return [
            Said(text=one.text, tokens=one.usage.tokens_out, whole=one.status is not Status.TRUNCATED)
            for one in answers
        ]
