"""Requests on disk, each once and found by its key: as many as a batch takes, and none of them in memory."""

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict

from kalign.providers.provider import Provider, Sampling
from kalign.providers.request import Request
from kalign.records import Message

LAYOUT = """
PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;
CREATE TABLE request (
    place INTEGER PRIMARY KEY, key TEXT UNIQUE, provider TEXT, row TEXT, held INTEGER DEFAULT 0
);
"""


class Spool:
    """Requests in the order in which they came, in a temporary file that goes with this object."""

    def __init__(self, requests: Iterable[Request] = ()) -> None:
        self._providers: dict[str, Provider] = {}
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(LAYOUT)
        for request in requests:
            self.add(request.key(), request)

    def __len__(self) -> int:
        return int(self._database.execute("SELECT COUNT(*) FROM request").fetchone()[0])

    def __iter__(self) -> Iterator[Request]:
        return self.of(*self.providers())

    def add(self, key: str, request: Request) -> None:
        """Take in a request, unless it is there."""
        name = f"{request.provider.name}:{request.provider.model}"
        self._providers[name] = request.provider
        values = (key, name, written(request))
        self._database.execute("INSERT OR IGNORE INTO request (key, provider, row) VALUES (?, ?, ?)", values)

    def providers(self) -> list[Provider]:
        """Each provider that one of the requests is for."""
        names = self._database.execute("SELECT provider FROM request GROUP BY 1 ORDER BY MIN(place)")
        return [self._providers[name] for (name,) in names]

    def of(self, *providers: Provider, held: bool | None = None) -> Iterator[Request]:
        """Yield the requests to these providers; only those that are held, or are not, if that is given."""
        names = [f"{one.name}:{one.model}" for one in providers]
        places = ",".join("?" * len(names))
        wanted = (0, 1) if held is None else (int(held), int(held))
        found = self._database.execute(
            f"SELECT provider, row FROM request WHERE provider IN ({places}) AND held IN (?, ?) "
            "ORDER BY place",
            [*names, *wanted],
        )
        return (self._request(name, row) for name, row in found)

    def find(self, keys: Collection[str]) -> dict[str, Request]:
        """Those of these keys that are there, by key."""
        places = ",".join("?" * len(keys))
        found = self._database.execute(
            f"SELECT key, provider, row FROM request WHERE key IN ({places})", list(keys)
        )
        return {key: self._request(name, row) for key, name, row in found}

    def hold(self, keys: Sequence[str]) -> int:
        """Note that a file holds these, and return how many of them are there."""
        rows = [(key,) for key in keys]
        return self._database.executemany("UPDATE request SET held = 1 WHERE key = ?", rows).rowcount

    def _request(self, name: str, row: str) -> Request:
        return read(row, self._providers[name])


def written(request: Request) -> str:
    """A request as one line of plain letters; its provider is not in it."""
    row = {
        "messages": [(turn.role, turn.content) for turn in request.messages],
        "sampling": None if request.sampling is None else asdict(request.sampling),
        "schema": request.schema,
        "sample": request.sample,
        "about": request.about,
    }
    return json.dumps(row)


def read(line: str, provider: Provider) -> Request:
    """The request to a provider that a line holds."""
    row = json.loads(line)
    sampling = row.pop("sampling")
    return Request(
        provider=provider,
        messages=tuple(Message(role=role, content=content) for role, content in row.pop("messages")),
        sampling=None if sampling is None else Sampling(**sampling),
        **row,
    )
