"""One request over the wire: bytes out, bytes in, or the sentence that says why not.

The protocol is OpenAI's, the client is aiohttp: with 256 requests in flight the `openai` package (3.57)
spends 2.3 ms of processor time on each and aiohttp (3.14) 0.2 ms, and the faults of a reply can only be told
apart on its raw form.
"""

import asyncio
import json
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kalign.providers.provider import Provider
from kalign.providers.reading import Again, Reply, redacted

if TYPE_CHECKING:
    import aiohttp

LARGEST_REPLY_BYTES = 16 * 1024 * 1024
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Client:
    """Connections to every provider, shared by all requests of one event loop."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, provider: Provider, path: str, body: dict[str, Any]) -> Reply | Again:
        """Send one request to a path below the provider's address, and wait for the whole reply, for at most
        the provider's `timeout`."""
        import aiohttp

        key = provider.key()
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        address = f"{str(provider.base_url).rstrip('/')}/{path}"
        if self._session is None:
            # How many run at once is the lanes' affair
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        try:
            async with self._session.post(
                address,
                data=json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"),
                headers=headers,
                allow_redirects=False,  # a key goes to the address that was named, and to no other
                proxy=proxy(address),
                timeout=aiohttp.ClientTimeout(total=provider.timeout),
            ) as response:
                whole = await _bounded(response)
                names = {name.lower(): value for name, value in response.headers.items()}
                if whole is None:
                    return Again(
                        reason=f"the reply is longer than {LARGEST_REPLY_BYTES >> 20} MiB", billed=True
                    )
                if key:  # some servers repeat it in their error; nobody after this line can pass it on
                    whole = whole.replace(key.encode(), b"***")
                return Reply(status=response.status, headers=names, body=whole)
        except TimeoutError:
            return Again(reason=f"no whole reply within {provider.timeout:g} s")
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as wrong:
            return Again(reason=redacted(f"{type(wrong).__name__}: {wrong}", key))


async def _bounded(response: "aiohttp.ClientResponse") -> bytes | None:
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > LARGEST_REPLY_BYTES:
            return None
    return b"".join(parts)


def proxy(address: str) -> str | None:
    """The proxy that the environment names for an address; none for this machine."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    if host in LOOPBACK or urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies().get(parts.scheme)
