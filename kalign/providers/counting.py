"""How many tokens a request and its answer have: as the provider says, or about, rather too many."""

import json
from collections.abc import Mapping
from typing import Any

from kalign.providers.answer import Usage
from kalign.providers.request import Request

BYTES_A_TOKEN = 2  # of UTF-8; rather too few
MOST_TOKENS = 2**31 - 1  # a larger count is none


def counted(content: Mapping[str, Any]) -> Usage:
    """The counts of an answer in any of three vendors' words; 0 for one that is missing, or can be none."""
    said = content.get("usage") or content.get("usageMetadata")
    found = said if isinstance(said, dict) else {}
    counts = [
        next((found[name] for name in names if type(found.get(name)) is int), 0)
        for names in (
            ("prompt_tokens", "input_tokens", "promptTokenCount"),
            ("completion_tokens", "output_tokens", "candidatesTokenCount"),
        )
    ]
    tokens_in, tokens_out = (count if 0 < count <= MOST_TOKENS else 0 for count in counts)
    return Usage(tokens_in=tokens_in, tokens_out=tokens_out)


def dearest(request: Request) -> Usage:
    """What an answer may have been paid for that does not say it: a budget must not think it free."""
    return Usage(tokens_in=prompt_tokens(request), tokens_out=request.most_tokens_out)


def tokens(text: str) -> int:
    """About how many tokens a text has, rather too many: one for two bytes of UTF-8.

    >>> tokens("four"), tokens("")
    (2, 0)
    """
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_A_TOKEN)


def prompt_tokens(request: Request) -> int:
    """About how many tokens a request sends, rather too many; its schema counts too."""
    schema = json.dumps(request.schema) if request.schema else ""
    return tokens(schema) + sum(tokens(turn.content) + 8 for turn in request.messages)
