"""What a chat template and its tokenizer must keep, checked on many conversations by the code that training
uses.

Every check has a code that never changes. A broken contract is one finding with that code, the conversation
it was found in, and a sentence; what training would merely drop is counted apart.
"""

import dataclasses
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from transformers import GenerationConfig

from kalign.config import Model
from kalign.errors import BrokenContract, DataError
from kalign.models import loading, promises
from kalign.models.chat import Chat, TripletTokens
from kalign.models.conversations import Conversation, battery
from kalign.models.loading import Located
from kalign.records import Message, UnusableTriplet

CHECKS = {
    "no_template": "there is a chat template",
    "template_syntax": "the template is Jinja",
    "template_too_slow": "it renders in time",
    "template_refuses": "it renders every ordinary conversation",
    "changed_template": "its text is the pinned one (model.template_sha256)",
    "clock_in_template": "it writes no date of today",
    "tokenizer_differs": "the loaded tokenizer is its tokenizer.json",
    "wrong_pad": "the pad token is of its own and stands in no conversation",
    "double_bos": "the beginning-of-sequence token stands no more often than declared",
    "missing_bos": "nor less often",
    "generation_prompt": "an answer begins as declared (model.generation_prompt)",
    "system_policy": "a system message becomes what is declared (model.system)",
    "undeclared_system": "no system text is written but the declared one (model.default_system)",
    "prompt_not_prefix": "the prompt is the beginning of both sequences",
    "boundary_merge": "no token joins the prompt and the answer",
    "missing_turn_end": "an answer ends with its turn-end token",
    "turn_end_not_stop_token": "generation stops at the token that is trained",
    "injected_control": "text that spells a control token makes none",
    "trims_content": "blanks around a text are kept or trimmed as declared (model.trims)",
    "text_changed": "what is trained is the answer, letter by letter",
}
# One field of the recipe each, and the codes under which breaking it is known.
PROMISED = {
    "changed_template": "template_sha256",
    "trims_content": "trims",
    "generation_prompt": "generation_prompt",
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One broken contract."""

    code: str
    conversation: str | None
    sentence: str


@dataclass(kw_only=True)
class Diagnosis:
    """What was checked how often, what is broken, what training would drop, and one sample's tokens."""

    model: str
    contract: dict[str, Any]
    template_sha256: str | None = None
    tokenizer_sha256: str | None = None
    conversations: int = 0
    checked: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    sample: list[dict[str, Any]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is broken."""
        return not self.findings

    def holds(self, code: str, *, broken: str | None = None, conversation: str | None = None) -> None:
        """Note that something was checked, and the sentence that says how it is broken."""
        self.checked[code] += 1
        if broken is not None:
            self.findings.append(Finding(code=code, conversation=conversation, sentence=broken))


def examine(model: Model, located: Located) -> Diagnosis:
    """Check a model's template and tokenizer against everything that training relies on.

    Raises:
        ResourceError: the Hub could not be reached.
        DataError: there is nothing to check, such as no tokenizer.
    """
    diagnosis = Diagnosis(model=located.name, contract=_declared(model))
    try:
        tokenizer = loading.load_tokenizer(model, located)
        diagnosis.holds("tokenizer_differs")
        chat = promises.as_declared(model, tokenizer)
    except BrokenContract as wrong:  # then no conversation can be looked at
        diagnosis.holds(wrong.code, broken=str(wrong))
        return diagnosis
    for code in ("no_template", "template_syntax"):
        diagnosis.holds(code)
    diagnosis.template_sha256, diagnosis.tokenizer_sha256 = chat.template_sha256, chat.tokenizer_sha256
    _promises(diagnosis, model, chat)
    _stops(diagnosis, located, chat)
    for conversation in battery():
        diagnosis.conversations += 1
        _conversation(diagnosis, model, chat, conversation)
    return diagnosis


def _declared(model: Model) -> dict[str, Any]:
    names = ("pad_token", "bos_count", "turn_end", "system", "default_system", "trims", "generation_prompt")
    return {name: getattr(model, name) for name in (*names, "template_kwargs", "template_sha256")}


def _promises(diagnosis: Diagnosis, model: Model, chat: Chat) -> None:
    """Each promise by itself, so that one that is broken hides no other."""
    nothing = dataclasses.replace(
        model, template_sha256=None, trims=None, generation_prompt=None, system=None, default_system=None
    )
    if not _kept(diagnosis, "wrong_pad", nothing, chat):
        return
    for code, name in PROMISED.items():
        if getattr(model, name) is not None:
            _kept(diagnosis, code, dataclasses.replace(nothing, **{name: getattr(model, name)}), chat)
    if model.system is not None:
        own = dataclasses.replace(nothing, system=model.system, default_system=model.default_system)
        same = promises.system_policy(chat) == model.system
        if _kept(diagnosis, "undeclared_system" if same else "system_policy", own, chat):
            diagnosis.holds("system_policy")


def _kept(diagnosis: Diagnosis, code: str, promised: Model, chat: Chat) -> bool:
    try:
        promises.require_kept(promised, chat)
    except DataError as wrong:
        diagnosis.holds(code, broken=str(wrong))
        return False
    diagnosis.holds(code)
    return True


def _stops(diagnosis: Diagnosis, located: Located, chat: Chat) -> None:
    """Whether generation, as the model's own files configure it, stops at the trained token."""
    try:
        stops = GenerationConfig.from_pretrained(located.source, revision=located.revision).eos_token_id
    except OSError:
        return  # it has no generation_config.json: nothing is claimed
    ids = stops if isinstance(stops, list) else [stops]
    broken = None
    if chat.turn_end_id not in ids:
        broken = (
            f"{located.name}: generation_config.json stops at {ids}, but what is trained to end an answer is "
            f"{chat.turn_end} ({chat.turn_end_id}); add it to eos_token_id, or the model never stops"
        )
    diagnosis.holds("turn_end_not_stop_token", broken=broken)


def _conversation(diagnosis: Diagnosis, model: Model, chat: Chat, conversation: Conversation) -> None:
    try:
        tokens = chat.tokens(conversation.triplet)
    except UnusableTriplet as wrong:
        if _may_drop(model, conversation, wrong.reason):
            diagnosis.dropped[wrong.reason] += 1
        else:
            diagnosis.holds(wrong.reason, broken=str(wrong), conversation=conversation.id)
        return
    except BrokenContract as broken:
        diagnosis.holds(broken.code, broken=str(broken), conversation=conversation.id)
        return
    for code in ("prompt_not_prefix", "boundary_merge", "missing_turn_end", "double_bos", "missing_bos"):
        diagnosis.holds(code)  # chat.tokens has refused what breaks them
    for code in ("template_refuses", "template_too_slow", "clock_in_template"):
        diagnosis.holds(code)
    for code, said in (
        ("wrong_pad", _pad(chat, tokens)),
        ("injected_control", _injected(chat, conversation, tokens)),
        *_texts(model, chat, conversation, tokens),
    ):
        diagnosis.holds(code, broken=said, conversation=conversation.id)
    if not diagnosis.sample:
        diagnosis.sample = sample(chat, tokens)


def _may_drop(model: Model, conversation: Conversation, reason: str) -> bool:
    has_system = any(turn.role == "system" for turn in conversation.turns)
    refused = reason == "template_refuses" and has_system and model.system == "refused"
    return refused or reason in conversation.drops


def _pad(chat: Chat, tokens: TripletTokens) -> str | None:
    if chat.tokenizer.pad_token_id in tokens.prompt + tokens.chosen:
        return (
            f"the pad token {chat.tokenizer.pad_token} stands in the conversation, where it would be masked"
        )
    return None


def _injected(chat: Chat, conversation: Conversation, tokens: TripletTokens) -> str | None:
    """Compare the control tokens with those of the same turns filled with harmless words."""
    plain = [
        Message(role=turn.role, content="x" if turn.content.strip() else turn.content)
        for turn in conversation.turns
    ]
    harmless = dataclasses.replace(conversation, turns=tuple(plain))
    try:
        wanted = chat.tokens(harmless.triplet)
    except UnusableTriplet:
        return None  # counted where the harmless one itself stands in the battery
    found, expected = _control(chat, tokens), _control(chat, wanted)
    if found == expected:
        return None
    more = Counter(found) - Counter(expected)
    spelled = ", ".join(str(chat.tokenizer.convert_ids_to_tokens(id)) for id in more) or "another order"
    return f"the texts make control tokens of their own: {spelled}"


def _control(chat: Chat, tokens: TripletTokens) -> list[int]:
    added = chat.tokenizer.added_tokens_decoder
    return [id for id in tokens.prompt + tokens.chosen if id in added and str(added[id]).strip()]


def _texts(
    model: Model, chat: Chat, conversation: Conversation, tokens: TripletTokens
) -> Iterator[tuple[str, str | None]]:
    answer = conversation.turns[-1].content
    written = _composed(chat.tokenizer.decode(tokens.chosen, clean_up_tokenization_spaces=False))
    end = _composed(chat.turn_end)
    if not written.endswith(end):
        yield "text_changed", f"{written!r:.80} is trained, which does not end with {end}"
        return
    body, kept = written.removesuffix(end), _composed(answer)
    trimmed = kept.strip()
    wanted = {True: (trimmed,), False: (kept,), None: (kept, trimmed)}[model.trims]
    if body in wanted:
        yield "trims_content", None
        yield "text_changed", _prompt_text(chat, conversation, tokens)
    elif body.strip() == trimmed:
        yield "trims_content", f"of {answer!r:.40} is trained {body!r:.40}, but model.trims={model.trims}"
    else:
        yield "text_changed", f"of {answer!r:.60} is trained {body!r:.60}"


def _prompt_text(chat: Chat, conversation: Conversation, tokens: TripletTokens) -> str | None:
    """Every turn of the prompt is in what the model reads, in order."""
    read = _composed(chat.tokenizer.decode(tokens.prompt, clean_up_tokenization_spaces=False))
    place = 0
    for turn in conversation.turns[:-1]:
        found = read.find(_composed(turn.content.strip()), place)
        if found < 0:
            return f"the {turn.role} turn {turn.content!r:.60} is not in what the model reads"
        place = found + len(_composed(turn.content.strip()))
    return None


def sample(chat: Chat, tokens: TripletTokens) -> list[dict[str, Any]]:
    """Every token of a conversation: its id, its text, and whether it is trained."""
    trained = [(id, False) for id in tokens.prompt] + [(id, True) for id in tokens.chosen]
    return [{"id": id, "text": _shown(chat, id), "trained": is_trained} for id, is_trained in trained]


def _shown(chat: Chat, id: int) -> str:
    text: str = chat.tokenizer.decode([id], clean_up_tokenization_spaces=False)
    return text if "\ufffd" not in text else "◌"  # part of a letter


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def as_document(diagnosis: Diagnosis) -> dict[str, Any]:
    """The diagnosis as plain values, one entry for each check."""
    by_code: dict[str, Sequence[Finding]] = {
        code: [finding for finding in diagnosis.findings if finding.code == code] for code in CHECKS
    }
    return {
        "model": diagnosis.model,
        "ok": diagnosis.ok,
        "contract": diagnosis.contract,
        "template_sha256": diagnosis.template_sha256,
        "tokenizer_sha256": diagnosis.tokenizer_sha256,
        "conversations": diagnosis.conversations,
        "dropped": dict(diagnosis.dropped),
        "checks": [
            {
                "code": code,
                "holds_if": holds,
                "checked": diagnosis.checked[code],
                "broken": len(by_code[code]),
            }
            for code, holds in CHECKS.items()
        ],
        "findings": [dataclasses.asdict(finding) for finding in diagnosis.findings],
        "sample": diagnosis.sample,
    }
