"""Asking a model: its weights are loaded once, and answer with the adapter and without it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from kalign.errors import IntegrityError
from kalign.evaluation.questions import Question
from kalign.evaluation.subjects import Subject
from kalign.models import answers
from kalign.records import Said

PROBES = 4  # prompts on which an adapter must change the model's next token
FAINTEST = 1e-5  # nats: the least that a log-probability must change by


class Weights:
    """A model on this machine.

    Args:
        batch: prompts answered at once; only equally long ones are.

    Raises:
        KalignError: it cannot be loaded.
    """

    def __init__(self, subject: Subject, *, batch: int, max_new_tokens: int) -> None:
        self.subject = subject
        self.batch = batch
        self.max_new_tokens = max_new_tokens
        self.chat, self.model = answers.ready(subject.model, subject.quantization, subject.adapter)

    def identity(self) -> dict[str, Any]:
        """What decides how it is asked, beside its weights."""
        return {
            "template_sha256": self.chat.template_sha256,
            "tokenizer_sha256": self.chat.tokenizer_sha256,
            "max_new_tokens": self.max_new_tokens,
            "decoding": "greedy",
            "batch": self.batch,
            "device": next(self.model.parameters()).device.type,
        }

    def groups(self, questions: Sequence[Question]) -> list[list[int]]:
        """The places of the questions that are asked together, in the order of asking."""
        return list(answers.equally_long([self._ids(one) for one in questions], self.batch))

    def answer(self, questions: Sequence[Question], *, adapter: bool) -> list[Said]:
        """What the model says, with its adapter or without it, in order."""
        with self._as(adapter):
            return answers.greedy(
                self.model,
                [self._ids(one) for one in questions],
                self.chat.tokenizer,
                turn_end=self.chat.turn_end_id,
                max_new_tokens=self.max_new_tokens,
            )

    def require_effect(self, questions: Sequence[Question]) -> float:
        """By how much the adapter changes the log-probability of some next token, at most, in nats.

        Raises:
            IntegrityError: by nothing; then scores of base and adapter would be those of one model.
        """
        changes = []
        for one in questions[:PROBES]:
            ids = torch.tensor([self._ids(one)], device=next(self.model.parameters()).device)
            with self._as(False):
                base = self.model(input_ids=ids).logits[0, -1].float().log_softmax(-1)
            with self._as(True):
                changed = self.model(input_ids=ids).logits[0, -1].float().log_softmax(-1)
            changes.append(float((changed - base).abs().max()))
        if max(changes) < FAINTEST:
            raise IntegrityError(
                f"the adapter of {self.subject.name} has no effect: on {len(changes)} prompts, no "
                f"log-probability of a next token changes by {FAINTEST:g}, so there is nothing to "
                "compare; train it, or give the run whose adapter you meant"
            )
        return max(changes)

    def _ids(self, question: Question) -> list[int]:
        return self.chat.prompt_ids(question.conversation)

    @contextmanager
    def _as(self, adapter: bool) -> Iterator[None]:
        off = self.subject.adapter is not None and not adapter
        with torch.inference_mode(), self.model.disable_adapter() if off else nullcontext():
            yield
