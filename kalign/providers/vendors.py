"""The batch endpoints of two vendors, in one form: find a file's batch, submit it, ask how it is, download.

Source: https://platform.openai.com/docs/api-reference/batch and
https://docs.anthropic.com/en/api/creating-message-batches
"""

import json
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from kalign import files
from kalign.errors import DataError, Interrupted, ProviderError
from kalign.providers.batches import Form
from kalign.providers.client import proxy
from kalign.providers.provider import Provider
from kalign.providers.reading import redacted

if TYPE_CHECKING:
    import aiohttp

OVER = (
    "completed",
    "failed",
    "expired",
    "cancelled",
    "ended",
)  # the vendors' words; some results may be there
MARK = "kalign_file"  # the name of a file in its batch's metadata
VERSION = "2023-06-01"  # of Anthropic's protocol
SKEW = timedelta(minutes=15)  # that this machine's clock may differ from the vendor's
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How one batch is."""

    word: str  # the vendor's
    done: int = 0
    total: int = 0
    results: tuple[str, ...] = ()  # calls that give a file each
    reason: str = ""  # why it failed

    @property
    def over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.word in OVER


class Vendor(Protocol):
    """What is asked of each of them."""

    async def find(self, path: Path, mark: str, since: datetime | None, known: Collection[str]) -> str | None:
        """The batch that was made of this file before.

        Args:
            mark: the file's name and how often it came to nothing.
            since: when submitting it was begun; None if that is not known.
            known: batches that are known already.
        """

    async def submit(self, path: Path, mark: str) -> str:
        """Make a batch of the file, and return its id."""

    async def state(self, batch: str) -> State:
        """How it is."""

    async def download(self, call: str, path: Path) -> None:
        """Keep a result file, readable by its owner."""


class Calls:
    """Calls to one provider's endpoint, each with its key."""

    def __init__(self, session: "aiohttp.ClientSession", provider: Provider) -> None:
        self._session = session
        self._provider = provider
        self._base = str(provider.base_url).rstrip("/")

    def headers(self, key: str | None) -> dict[str, str]:
        """How the key is given."""
        return {"authorization": f"Bearer {key}"} if key else {}

    async def get(self, path: str) -> dict[str, Any]:
        """What a call without a body answers."""
        return _object(await self.call("GET", path))

    async def download(self, call: str, path: Path) -> None:
        """Keep a result file, readable by its owner."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        content = await self.call("GET", call)
        try:
            path.touch(mode=0o600)
            path.write_bytes(content)
        except OSError as wrong:
            files.raise_if_full(wrong, path)
            raise

    async def call(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> bytes:
        """The body that a call answers.

        Raises:
            ProviderError: the endpoint does not accept it.
            Interrupted: it cannot be reached, or is busy.
        """
        import aiohttp

        key = self._provider.key()
        sent = {**self.headers(key), **(headers or {})}
        address = f"{self._base}/{path}"
        named = f"provider {self._provider.name}"
        try:
            async with self._session.request(
                method, address, headers=sent, allow_redirects=False, proxy=proxy(address), **options
            ) as response:
                content = await response.read()
        except aiohttp.ClientHttpProxyError as wrong:  # its own words hold the proxy's password
            raise Interrupted(
                f"{named} cannot be reached (the proxy of the environment answers HTTP {wrong.status}); run "
                "the same command again"
            ) from None
        except (TimeoutError, aiohttp.ClientError, OSError) as wrong:
            reason = redacted(f"{type(wrong).__name__}: {wrong}", key)
            raise Interrupted(f"{named} cannot be reached ({reason}); run the same command again") from wrong
        if response.status in (408, 409, 429) or response.status >= 500:
            raise Interrupted(f"{named} answers HTTP {response.status}; run the same command again later")
        if response.status != 200:
            said = redacted(content.decode("utf-8", "replace"), key)
            raise ProviderError(
                f"{named} does not accept {path.split('?')[0]}: HTTP {response.status}: {said}"
            )
        return content


class OpenAI(Calls):
    """A file is uploaded, and named in its batch's metadata."""

    async def find(self, path: Path, mark: str, since: datetime | None, known: Collection[str]) -> str | None:
        """The batch whose metadata name the file."""
        after = ""
        while True:
            page = await self.get(f"batches?limit=100{after}")
            rows = page.get("data") or []
            for row in rows:
                if (row.get("metadata") or {}).get(MARK) == mark:
                    return str(row["id"])
            if not page.get("has_more") or not rows:
                return None
            after = f"&after={rows[-1]['id']}"

    async def submit(self, path: Path, mark: str) -> str:
        """Upload the file, make a batch of it, and return the batch's id."""
        import aiohttp

        with path.open("rb") as stream:
            form = aiohttp.FormData({"purpose": "batch"})
            form.add_field("file", stream, filename=path.name, content_type="application/jsonl")
            uploaded = _object(await self.call("POST", "files", data=form))
        asked = {
            "input_file_id": uploaded.get("id"),
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": {MARK: mark},
        }
        return str(_object(await self.call("POST", "batches", json=asked)).get("id"))

    async def state(self, batch: str) -> State:
        """How it is; an expired one has the results that were ready in time."""
        content = await self.get(f"batches/{batch}")
        counts = content.get("request_counts") or {}
        errors = ((content.get("errors") or {}).get("data") or [{}])[0]
        made = (content.get(part) for part in ("output_file_id", "error_file_id"))
        return State(
            word=str(content.get("status")),
            done=int(counts.get("completed") or 0) + int(counts.get("failed") or 0),
            total=int(counts.get("total") or 0),
            results=tuple(f"files/{one}/content" for one in made if one),
            reason=redacted(str(errors.get("message") or ""), self._provider.key()),
        )


class Anthropic(Calls):
    """All requests go in one body, and a batch carries no name of ours: it is known again by its size."""

    def headers(self, key: str | None) -> dict[str, str]:
        """How the key is given."""
        return {"anthropic-version": VERSION} | ({"x-api-key": key} if key else {})

    async def find(self, path: Path, mark: str, since: datetime | None, known: Collection[str]) -> str | None:
        """The batch of as many requests that was made since, and is no other file's.

        Whether it really is this file's is seen by its results, which name the requests.
        """
        if since is None:
            return None
        wanted = _lines(path)
        after = ""
        while True:
            page = await self.get(f"messages/batches?limit=100{after}")
            rows = page.get("data") or []
            for row in rows:
                made = datetime.fromisoformat(str(row["created_at"]))
                if made < since - SKEW:
                    return None
                if sum((row.get("request_counts") or {}).values()) == wanted and row["id"] not in known:
                    return str(row["id"])
            if not page.get("has_more") or not rows:
                return None
            after = f"&after_id={rows[-1]['id']}"

    async def submit(self, path: Path, mark: str) -> str:
        """Make a batch of the file's lines, and return its id."""
        size = len(HEAD) + path.stat().st_size - 1 + len(TAIL)
        headers = {"content-type": "application/json", "content-length": str(size)}
        return str(
            _object(await self.call("POST", "messages/batches", headers=headers, data=_list(path))).get("id")
        )

    async def state(self, batch: str) -> State:
        """How it is."""
        content = await self.get(f"messages/batches/{batch}")
        counts = dict(content.get("request_counts") or {})
        word = str(content.get("processing_status"))
        return State(
            word=word,
            done=sum(counts.values()) - int(counts.get("processing") or 0),
            total=sum(counts.values()),
            results=(f"messages/batches/{batch}/results",) if word in OVER else (),
        )


VENDORS: Mapping[str, type[OpenAI] | type[Anthropic]] = {Form.OPENAI: OpenAI, Form.ANTHROPIC: Anthropic}
HEAD, TAIL = b'{"requests":[', b"]}"


async def _list(path: Path) -> AsyncIterator[bytes]:
    """Yield the file's lines as one JSON document, without holding them: a comma for each line end."""
    yield HEAD
    left = path.stat().st_size - 1  # without the last line's end
    with path.open("rb") as stream:
        while left and (block := stream.read(min(left, BLOCK_BYTES))):
            left -= len(block)
            yield block.replace(b"\n", b",")  # inside of a JSON text no line ends
    yield TAIL


def _lines(path: Path) -> int:
    with path.open("rb") as lines:
        return sum(1 for _ in lines)


def now() -> datetime:
    """The time by which a vendor's is compared, with its zone."""
    return datetime.now(UTC)


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise DataError("the batch endpoint answered with no JSON object; is base_url that of OpenAI's form?")
    return found
