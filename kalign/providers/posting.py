"""Batch files to OpenAI's batch endpoint and back: submitted, looked after and taken in, each step as often
as wanted.

What was submitted stands in the ledger, and at the vendor under the file's name: a process that is killed
between the two finds its batch again instead of paying for a second one.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kalign.errors import DataError, Interrupted, ProviderError
from kalign.providers.answer import Status
from kalign.providers.batches import Taken, take_in
from kalign.providers.client import proxy
from kalign.providers.ledger import Ledger
from kalign.providers.provider import Provider
from kalign.providers.reading import redacted
from kalign.providers.request import Request

if TYPE_CHECKING:
    import aiohttp

OVER = ("completed", "failed", "expired", "cancelled")  # the vendor's words; an expired one has results too
LOST = ("failed", "expired", "cancelling", "cancelled")
MARK = "kalign_file"  # the name of a file in its batch's metadata
TIMEOUT = 600.0  # seconds for one call; a file may have 200 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Where one file is."""

    file: str
    id: str
    state: str
    taken: Taken | None = None  # when it is over

    @property
    def over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state in OVER


async def advance(
    paths: Sequence[Path],
    requests: Callable[[], Iterable[Request]],
    provider: Provider,
    ledger: Ledger,
    folder: Path,
) -> list[Batch]:
    """Bring each file one step on: submit it, ask how it is, or take its results in.

    Args:
        paths: files that `batches.write` wrote in OpenAI's form.
        requests: gives those that the files were written from, once for each file that is over.
        folder: where result files are kept, since the vendor deletes them after some weeks.

    Raises:
        ProviderError: the endpoint does not accept a call.
        Interrupted: it cannot be reached; the same command goes on.
    """
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=TIMEOUT)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        calls = _Calls(session, provider)
        return [await _advance(path, requests, calls, ledger, folder) for path in paths]


async def _advance(
    path: Path,
    requests: Callable[[], Iterable[Request]],
    calls: "_Calls",
    ledger: Ledger,
    folder: Path,
) -> Batch:
    name = f"batch:{path.name}"
    known = ledger.remembered(name)
    if not known:
        known = await calls.find(path.name) or await calls.submit(path)
        ledger.remember(name, known)
    content = await calls.get(f"batches/{known}")
    batch = Batch(file=path.name, id=known, state=str(content.get("status")))
    if not batch.over:
        return batch
    kept: dict[Status, int] = {}
    left = unknown = 0
    for part in ("output_file_id", "error_file_id"):
        if identifier := content.get(part):
            results = folder / f"{path.stem}.{part.removesuffix('_file_id')}.jsonl"
            await calls.download(str(identifier), results)
            taken = take_in(results, requests(), ledger)
            kept |= {status: kept.get(status, 0) + count for status, count in taken.kept.items()}
            left, unknown = left + taken.left, unknown + taken.unknown
    if batch.state != "completed":
        ledger.remember(name, "")  # whoever writes the same file again may submit it again
    return Batch(
        file=path.name, id=known, state=batch.state, taken=Taken(kept=kept, left=left, unknown=unknown)
    )


class _Calls:
    """The endpoint's five calls, each with the key."""

    def __init__(self, session: "aiohttp.ClientSession", provider: Provider) -> None:
        self._session = session
        self._provider = provider
        self._base = str(provider.base_url).rstrip("/")

    async def find(self, file: str) -> str | None:
        """The batch that was made of this file before."""
        after = ""
        while True:
            page = await self.get(f"batches?limit=100{after}")
            rows = page.get("data") or []
            for row in rows:
                if (row.get("metadata") or {}).get(MARK) == file and row.get("status") not in LOST:
                    return str(row["id"])
            if not page.get("has_more") or not rows:
                return None
            after = f"&after={rows[-1]['id']}"

    async def submit(self, path: Path) -> str:
        """Upload the file, make a batch of it, and return the batch's id."""
        import aiohttp

        with path.open("rb") as stream:
            form = aiohttp.FormData({"purpose": "batch"})
            form.add_field("file", stream, filename=path.name, content_type="application/jsonl")
            uploaded = _object(await self._call("POST", "files", data=form))
        asked = {
            "input_file_id": uploaded.get("id"),
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": {MARK: path.name},
        }
        return str(_object(await self._call("POST", "batches", json=asked)).get("id"))

    async def get(self, path: str) -> dict[str, Any]:
        """What a call without a body answers."""
        return _object(await self._call("GET", path))

    async def download(self, identifier: str, path: Path) -> None:
        """Keep a result file, readable by its owner."""
        content = await self._call("GET", f"files/{identifier}/content")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(content)

    async def _call(self, method: str, path: str, **options: Any) -> bytes:
        import aiohttp

        key = self._provider.key()
        headers = {"authorization": f"Bearer {key}"} if key else {}
        address = f"{self._base}/{path}"
        named = f"provider {self._provider.name}"
        try:
            async with self._session.request(
                method, address, headers=headers, allow_redirects=False, proxy=proxy(address), **options
            ) as response:
                content = await response.read()
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


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise DataError("the batch endpoint answered with no JSON object; is base_url that of OpenAI's form?")
    return found
