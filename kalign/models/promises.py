"""What a recipe says about its model's chat template, and whether the template does that.

Each promise is a field of `conf/model/`: it is checked by rendering conversations, never by reading the
template's text. A field that is null promises nothing.
"""

import re

from transformers import PreTrainedTokenizerBase

from kalign.config import Model
from kalign.errors import DataError
from kalign.models import loading
from kalign.models.chat import Chat
from kalign.models.loading import Located
from kalign.records import Message, UnusableTriplet

# Made-up words, which no template holds
ASKED, ANSWERED, ASKED_AGAIN, RULED = "Zurvek", "Plomid", "Quastorn", "Brindelk"


def load_chat(model: Model, located: Located) -> Chat:
    """The model's tokenizer with its chat template, after both have kept what the recipe says of them.

    Raises:
        DataError: they do not.
        ResourceError: the Hub could not be reached.
    """
    chat = as_declared(model, loading.load_tokenizer(model, located))
    require_kept(model, chat)
    return chat


def as_declared(model: Model, tokenizer: PreTrainedTokenizerBase) -> Chat:
    """A tokenizer with its chat template, under what the recipe says of it.

    Raises:
        DataError: there is no template, or it cannot be rendered so.
    """
    return Chat(
        tokenizer,
        bos_count=model.bos_count,
        turn_end=model.turn_end,
        template_kwargs=model.template_kwargs,
    )


def require_kept(model: Model, chat: Chat) -> None:
    """Refuse a template that breaks a promise.

    Raises:
        DataError: it does; the message names the field, what it says, and what the template does.
    """
    name = chat.tokenizer.name_or_path
    if chat.tokenizer.pad_token_id == chat.turn_end_id:
        raise DataError(
            f"{name}: its pad token {chat.turn_end} ends assistant turns too; set model.pad_token to a token "
            "that never stands in text"
        )
    if model.template_sha256 not in (None, chat.template_sha256):
        raise DataError(
            f"{name}: the hash of its chat template is {chat.template_sha256}, not model.template_sha256="
            f"{model.template_sha256}; look at what changed, then state the new one"
        )
    if model.trims is not None and trims(chat) != model.trims:
        raise DataError(
            f"{name}: model.trims={str(model.trims).lower()}, but its template "
            f"{'keeps' if model.trims else 'trims'} blanks around a text; state model.trims="
            f"{str(not model.trims).lower()} if that is how it was trained"
        )
    if model.generation_prompt not in (None, opening := generation_prompt(chat)):
        raise DataError(
            f"{name}: its template opens an answer with {opening!r}, not model.generation_prompt="
            f"{model.generation_prompt!r}; state the one it was trained with"
        )
    if model.system is not None:
        _require_system(model, chat, name)


def _require_system(model: Model, chat: Chat, name: str) -> None:
    policy = system_policy(chat)
    if policy != model.system:
        raise DataError(
            f"{name}: model.system={model.system}, but to its template a system message is {policy}; state "
            f"model.system={policy} if that is how it was trained"
        )
    written = written_system(chat)
    wanted = model.default_system
    if wanted is None and written is not None:
        raise DataError(
            f"{name}: its template writes a system turn of its own where a conversation has none "
            f"({written!r}); state its text as model.default_system, so that it is known what is trained"
        )
    if wanted is not None and written is None:
        raise DataError(
            f"{name}: its template writes no system turn of its own, but model.default_system={wanted!r}; "
            "set it to null, and give the system text in the data"
        )
    if (
        wanted is not None
        and written is not None
        and not re.fullmatch(rf"(\W*system[^\w\s]*)?\s*{re.escape(wanted.strip())}\s*", written)
    ):
        raise DataError(
            f"{name}: the system turn that its template writes of itself is {written!r}, not "
            f"model.default_system={wanted!r}; state the text it has"
        )


def trims(chat: Chat) -> bool:
    """Whether the template trims blanks around what a user says."""
    rendered = chat.render([_user(f"  {ASKED}  ")], add_generation_prompt=True)
    return f"  {ASKED}  " not in rendered


def generation_prompt(chat: Chat) -> str:
    """What the template writes where an answer begins."""
    asked = [_user(ASKED)]
    closed = chat.render(asked, add_generation_prompt=False)
    return chat.render(asked, add_generation_prompt=True).removeprefix(closed)


def system_policy(chat: Chat) -> str:
    """What becomes of a system message: `turn`, `merged` into the first user turn, `refused` or `lost`."""
    try:
        rendered = chat.render(
            [Message(role="system", content=RULED), _user(ASKED)], add_generation_prompt=True
        )
    except UnusableTriplet:
        return "refused"
    if RULED not in rendered:
        return "lost"
    between = rendered.partition(RULED)[2].partition(ASKED)[0]
    return "turn" if len(chat.split(between)) > 1 else "merged"


def written_system(chat: Chat) -> str | None:
    """What the template writes in front of the first user turn and of no other one; None if nothing.

    The beginning-of-sequence token and the other control tokens are left out: of Qwen's default system turn,
    its role and its text remain.
    """
    turns = [_user(ASKED), Message(role="assistant", content=ANSWERED), _user(ASKED_AGAIN)]
    rendered = chat.render(turns, add_generation_prompt=True)
    first = chat.split(rendered.partition(ASKED)[0])
    later = chat.split(rendered.partition(ANSWERED)[2].partition(ASKED_AGAIN)[0])
    while first and later and first[-1] == later[-1]:
        first.pop()
        later.pop()
    texts, control = first[::2], first[1::2]
    if not "".join(texts).strip() and set(control) <= {str(chat.tokenizer.bos_token)}:
        return None
    return "".join(texts).strip()


def _user(content: str) -> Message:
    return Message(role="user", content=content)
