"""From a conversation to token ids, through the model's own chat template and nothing else.

What TRL leaves open is decided here: the prompt's ids are a strict prefix of both sequences, the answer ends
with its turn-end token on both sides, the beginning-of-sequence token stands as often as the model wants it,
and text that spells a control token stays text.
"""

import re
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import jinja2
from transformers import PreTrainedTokenizerBase

from kalign.errors import BrokenContract
from kalign.records import Message, Triplet, UnusableTriplet

RENDER_SECONDS = 5.0
# Unicode's noncharacters stand in for control tokens while a template runs: no text may hold them, no
# template reads them.
STAND_INS = [chr(point) for point in range(0xFDD0, 0xFDF0)]
ANY_STAND_IN = re.compile(f"([{STAND_INS[0]}-{STAND_INS[-1]}])")


@dataclass(frozen=True, slots=True, kw_only=True)
class TripletTokens:
    """The ids of one triplet: `prompt + chosen` and `prompt + rejected` are what the model reads; without a
    worse answer, `rejected` is empty."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]
    control_tokens: int  # how often the texts spell a control token


class Chat:
    """A tokenizer with its chat template, and what the template promises.

    Args:
        tokenizer: with a chat template.
        bos_count: how often a conversation holds the beginning-of-sequence token; None: once or never.
        turn_end: the token that ends an assistant turn; None: the first one the template writes behind an
            answer.
        template_kwargs: what the template is given besides the messages.

    Raises:
        BrokenContract: there is no template, it cannot be rendered, or it breaks one of these promises.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        bos_count: int | None,
        turn_end: str | None,
        template_kwargs: Mapping[str, str] | None = None,
    ) -> None:
        if not tokenizer.chat_template:
            raise BrokenContract(
                "no_template",
                f"{tokenizer.name_or_path} has no chat template; use an instruction-tuned model, or put its "
                "chat_template.jinja into the folder",
            )
        self.tokenizer = tokenizer
        self.bos_count = bos_count
        self.template_kwargs = dict(template_kwargs or {})
        self._control = _control_tokens(tokenizer)
        probe = (Message(role="user", content="1"),)
        answer = (Message(role="assistant", content="2"),)
        try:
            self.turn_end = turn_end or self._written_behind(probe, answer)
            self.turn_end_id = self._single_id(self.turn_end)
            self._pair(probe, answer)
        except (
            UnusableTriplet
        ) as wrong:  # what the simplest conversation breaks, every other one would break too
            raise BrokenContract(
                wrong.reason, f"{tokenizer.name_or_path}: {wrong}; mend its chat template"
            ) from wrong

    @property
    def template_sha256(self) -> str:
        """The hash of the template's text."""
        return sha256(str(self.tokenizer.chat_template).encode()).hexdigest()

    @property
    def tokenizer_sha256(self) -> str:
        """The hash of vocabulary, merges and added tokens."""
        return sha256(self.tokenizer.backend_tokenizer.to_str().encode()).hexdigest()

    def tokens(self, triplet: Triplet) -> TripletTokens:
        """The ids of a triplet.

        Raises:
            UnusableTriplet: the template or the tokenizer cannot keep this triplet exact; `reason` says why.
            BrokenContract: the template breaks a promise that no other triplet could keep either.
        """
        prompt, chosen = self._pair(triplet.prompt, triplet.chosen)
        rejected = self._pair(triplet.prompt, triplet.rejected)[1] if triplet.rejected else []
        spelled = [turn.content for turn in (*triplet.prompt, *triplet.chosen, *triplet.rejected)]
        count = sum(len(self._control.findall(content)) for content in spelled) if self._control else 0
        return TripletTokens(prompt=prompt, chosen=chosen, rejected=rejected, control_tokens=count)

    def prompt_ids(self, prompt: Sequence[Message]) -> list[int]:
        """The ids after which the model would answer `prompt`."""
        rendered, spelled = self._render(prompt, add_generation_prompt=True)
        return self._encode(rendered, spelled)

    def exchange_ids(
        self, prompt: Sequence[Message], answer: Sequence[Message]
    ) -> tuple[list[int], list[int]]:
        """The ids of a prompt, and of its answer up to the turn end.

        Raises:
            UnusableTriplet: the template or the tokenizer cannot keep them exact; `reason` says why.
            BrokenContract: the template breaks a promise that no other exchange could keep either.
        """
        return self._pair(prompt, answer)

    def _pair(self, prompt: Sequence[Message], answer: Sequence[Message]) -> tuple[list[int], list[int]]:
        """The ids of the prompt and of the answer up to its turn end."""
        before, _ = self._render(prompt, add_generation_prompt=True)
        whole, spelled = self._render([*prompt, *answer], add_generation_prompt=False)
        if not whole.startswith(before):
            raise UnusableTriplet(
                "prompt_not_prefix", "the template writes the prompt differently once it is answered"
            )
        prompt_ids = self._encode(before, spelled)
        ids = self._encode(whole, spelled)
        if ids[: len(prompt_ids)] != prompt_ids:
            raise UnusableTriplet(
                "boundary_merge", "the tokenizer merges the end of the prompt with the answer"
            )
        answer_ids = ids[len(prompt_ids) :]
        if self.turn_end_id not in answer_ids:
            raise BrokenContract(
                "missing_turn_end",
                f"{self.tokenizer.name_or_path}: its template does not end an answer with "
                f"{self.turn_end!r}, so the model "
                "would never learn to stop; set model.turn_end to the token it does end with",
            )
        last = len(answer_ids) - 1 - answer_ids[::-1].index(self.turn_end_id)
        self._check_bos(ids)
        return prompt_ids, answer_ids[: last + 1]

    def _check_bos(self, ids: list[int]) -> None:
        bos = self.tokenizer.bos_token_id
        count = ids.count(bos) if bos is not None else 0
        wrong = count > 1 if self.bos_count is None else count != self.bos_count
        if wrong and not (self.bos_count is None and bos == self.turn_end_id):
            wanted = "at most once" if self.bos_count is None else f"{self.bos_count} times (model.bos_count)"
            raise BrokenContract(
                "double_bos" if count > (1 if self.bos_count is None else self.bos_count) else "missing_bos",
                f"{self.tokenizer.name_or_path}: its template writes {self.tokenizer.bos_token!r} {count} "
                "times, but it "
                f"should stand {wanted}; mend the template, or set model.bos_count={count} if that is how "
                "it was trained",
            )

    def _written_behind(self, prompt: Sequence[Message], answer: Sequence[Message]) -> str:
        before, _ = self._render(prompt, add_generation_prompt=True)
        whole, _ = self._render([*prompt, *answer], add_generation_prompt=False)
        found = self._control.search(whole.removeprefix(before)) if self._control else None
        if found is None:
            raise BrokenContract(
                "missing_turn_end",
                f"{self.tokenizer.name_or_path}: its template writes no control token behind an answer, so "
                "the model would "
                "never learn to stop; set model.turn_end, or mend the template",
            )
        return found[0]

    def _single_id(self, token: str) -> int:
        vocabulary = self.tokenizer.get_vocab()
        if token not in vocabulary:
            raise BrokenContract(
                "missing_turn_end",
                f"model.turn_end={token} is no token of {self.tokenizer.name_or_path}; name the one that its "
                "template writes behind an answer",
            )
        return int(vocabulary[token])

    def _render(self, turns: Sequence[Message], *, add_generation_prompt: bool) -> tuple[str, list[str]]:
        """The conversation as text, and the control tokens its turns spell: stand-in number i means the i-th
        of them."""
        spelled: list[str] = []

        def hide(found: re.Match[str]) -> str:
            if found[0] not in spelled:
                spelled.append(found[0])
            if len(spelled) > len(STAND_INS):
                raise UnusableTriplet(
                    "control_tokens", f"the texts spell more than {len(STAND_INS)} control tokens"
                )
            return STAND_INS[spelled.index(found[0])]

        conversation = []
        for turn in turns:
            if ANY_STAND_IN.search(turn.content):
                raise UnusableTriplet(
                    "noncharacter", "a text holds one of Unicode's noncharacters U+FDD0 to U+FDEF"
                )
            content = self._control.sub(hide, turn.content) if self._control else turn.content
            conversation.append({"role": turn.role, "content": content})
        try:
            with time_limit(RENDER_SECONDS, f"{self.tokenizer.name_or_path}: its chat template"):
                rendered = self.tokenizer.apply_chat_template(
                    conversation,
                    tokenize=False,
                    add_generation_prompt=add_generation_prompt,
                    strftime_now=None,  # by which a template would write today's date
                    **self.template_kwargs,
                )
        except jinja2.TemplateSyntaxError as wrong:
            raise BrokenContract(
                "template_syntax",
                f"{self.tokenizer.name_or_path}: its chat template is no Jinja: {wrong.message}",
            ) from wrong
        except TypeError as wrong:
            if "strftime_now" not in str(self.tokenizer.chat_template):
                raise
            raise BrokenContract(
                "clock_in_template",
                f"{self.tokenizer.name_or_path}: its chat template writes today's date, so the same command "
                "would train on other tokens tomorrow; pin it, for example with "
                "model.template_kwargs={date_string:'26 Jul 2024'}",
            ) from wrong
        except jinja2.TemplateError as wrong:
            raise UnusableTriplet(
                "template_refuses", f"the template refuses the conversation: {wrong.message}"
            ) from wrong
        return str(rendered), spelled

    def render(self, turns: Sequence[Message], *, add_generation_prompt: bool) -> str:
        """The conversation as the template writes it.

        Raises:
            UnusableTriplet: the template refuses it.
        """
        return self._render(turns, add_generation_prompt=add_generation_prompt)[0]

    def split(self, rendered: str) -> list[str]:
        """What was rendered, cut into texts (even positions, perhaps empty) and control tokens (odd ones)."""
        return re.split(f"({self._control.pattern})", rendered) if self._control else [rendered]

    def _encode(self, rendered: str, spelled: list[str]) -> list[int]:
        ids: list[int] = []
        for piece in ANY_STAND_IN.split(rendered):
            if ANY_STAND_IN.fullmatch(piece):
                text = spelled[STAND_INS.index(piece)]
                for part in (text[:1], text[1:]):  # taken apart, it cannot be the token that it spells
                    ids += self.tokenizer.encode(part, add_special_tokens=False, split_special_tokens=True)
            elif piece:
                ids += self.tokenizer.encode(piece, add_special_tokens=False)
        return ids


def _control_tokens(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str] | None:
    """All added tokens (special or not) that text could spell, longest first."""
    added = [
        str(token.content) for token in tokenizer.added_tokens_decoder.values() if str(token.content).strip()
    ]
    longest_first = sorted(added, key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, longest_first))) if added else None


@contextmanager
def time_limit(seconds: float, what: str) -> Iterator[None]:
    """Stop what takes longer than `seconds`; in threads other than the main one, signals cannot, so nothing
    is stopped.

    Raises:
        BrokenContract: `what` took longer.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: Any) -> None:
        raise BrokenContract(
            "template_too_slow",
            f"{what} ran for more than {seconds:g} seconds; it seems to loop for ever, so mend it",
        )

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
