"""Batch files to a vendor and back: submitted, looked after and taken in, each step as often as wanted.

What was submitted stands in the ledger, and a process that is killed between the two finds its batch again at
the vendor instead of paying for a second one. A file is there until its results are in the ledger.
"""

import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from kalign.errors import DataError, Interrupted, ProviderError
from kalign.providers.answer import Status
from kalign.providers.batches import SHARE, Form, Taken, take_in, write
from kalign.providers.budget import most, within
from kalign.providers.engine import Engine
from kalign.providers.ledger import Ledger
from kalign.providers.provider import Provider
from kalign.providers.spool import Spool
from kalign.providers.vendors import VENDORS, State, Vendor, now

TIMEOUT = 600.0  # seconds for one call; a file may have 200 MB
AT_ONCE = 200
FILES = "batch-*.jsonl"  # that wait for their results
FINEST = 0.5  # seconds between two looks at whether the user asked to stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Where one file is."""

    file: str
    id: str
    state: State
    taken: Taken | None = None  # when it is over

    @property
    def over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state.over


async def advance(
    paths: Sequence[Path], requests: Spool, provider: Provider, ledger: Ledger, folder: Path
) -> list[Batch]:
    """Bring each file one step on: submit it, ask how it is, or take its results in.

    Args:
        paths: files that `batches.write` wrote in the provider's form.
        requests: those that the files were written from; more do no harm.
        folder: where result files are kept, since the vendor deletes them after some weeks.

    Raises:
        ProviderError: the endpoint does not accept a call.
        Interrupted: it cannot be reached; the same command goes on.
    """
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=TIMEOUT)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        vendor: Vendor = VENDORS[provider.batch or Form.OPENAI](session, provider)
        return [await _advance(path, requests, vendor, ledger, folder) for path in paths]


async def _advance(path: Path, requests: Spool, vendor: Vendor, ledger: Ledger, folder: Path) -> Batch:
    mark = f"{path.name}#{ledger.remembered(f'lost:{path.name}') or 0}"
    known = ledger.remembered(f"batch:{mark}") or await _submitted(path, mark, vendor, ledger)
    state = await state_of(vendor, known)
    if not state.over:
        return Batch(file=path.name, id=known, state=state)
    kept: Counter[Status] = Counter()
    unknown = 0
    for number, call in enumerate(state.results):
        results = folder / f"{path.stem}.{number}.jsonl"
        await vendor.download(call, results)
        taken = take_in(results, requests, ledger)
        kept.update(taken.kept)
        unknown += taken.unknown
    left = _open(path, requests, ledger)
    if left:  # whoever writes the same file again submits it again
        ledger.remember(f"lost:{path.name}", str(int(mark.partition("#")[2]) + 1))
    whole = Taken(kept=dict(kept), left=left, unknown=unknown)
    return Batch(file=path.name, id=known, state=state, taken=whole)


async def state_of(vendor: Vendor, batch: str) -> State:
    """How a batch is.

    Raises:
        DataError: the endpoint says it in no form that is the vendor's.
    """
    try:
        return await vendor.state(batch)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as wrong:
        if isinstance(wrong, DataError):
            raise
        raise DataError(
            f"the batch endpoint says of {batch} nothing that its vendor would; is base_url that of batch=?"
        ) from wrong


async def _submitted(path: Path, mark: str, vendor: Vendor, ledger: Ledger) -> str:
    """The file's batch: one that a killed process made of it, or a new one."""
    began = ledger.remembered(f"began:{mark}")
    since = datetime.fromisoformat(began) if began else None
    found = await vendor.find(path, mark, since, ledger.remembered_all("batch:"))
    if found is None:
        ledger.remember(f"began:{mark}", now().isoformat())
        found = await vendor.submit(path, mark)
    ledger.remember(f"batch:{mark}", found)
    return found


def _open(path: Path, requests: Spool, ledger: Ledger) -> int:
    """How many of a file's requests have no answer yet."""
    return sum(len(some) - len(ledger.find(requests.find(some))) for some in _keys(path))


def _keys(path: Path) -> Iterator[list[str]]:
    """Yield the keys of a file's requests, some at a time."""
    with path.open("rb") as lines:
        while some := [str(json.loads(line)["custom_id"]) for line in islice(lines, AT_ONCE)]:
            yield some


class Batches:
    """The transport of vendors' batches: half the price, within a day.

    Args:
        folder: where files wait, readable by their owner.
        poll: seconds between two questions how a batch is.
        budget: US dollars that all answers in the ledger may cost together.
    """

    def __init__(self, folder: Path, *, poll: float, budget: float | None) -> None:
        self._folder = folder
        self._poll = poll
        self._budget = budget
        self._said: dict[str, State] = {}
        self._ours: set[Path] = set()  # files that hold something of what is settled

    def takes(self, provider: Provider) -> bool:
        """Whether it has a batch API; the others are asked one by one."""
        return provider.batch is not None

    def settle(self, requests: Spool, engine: Engine) -> int:
        """Submit what no file holds yet, wait for every batch, and take the results in."""
        self._ours = set()
        for path in self._folder.glob(f"*/{FILES}"):
            self._hold(path, requests)
        for provider in requests.providers():
            self._write(requests, provider, engine.ledger)
        came = 0
        while True:
            open_ones = 0
            for provider in requests.providers():
                for batch in self._advanced(requests, provider, engine):
                    self._say(provider, batch)
                    open_ones += not batch.over
                    came += sum(batch.taken.kept.values()) if batch.taken else 0
            if not open_ones:
                return came
            end = time.monotonic() + self._poll
            while (left := end - time.monotonic()) > 0:
                time.sleep(min(left, FINEST))
                engine.check()

    def close(self) -> None:
        """Nothing runs here."""

    def _write(self, requests: Spool, provider: Provider, ledger: Ledger) -> None:
        """Write what no file holds, as far as the budget allows.

        Raises:
            Interrupted: it allows nothing, and nothing is on its way.
        """
        left = None
        if self._budget is not None:
            promised = sum(map(most, requests.of(*requests.providers(), held=True)))
            left = self._budget - ledger.spent() - SHARE * promised
        fitting = within(left, requests.of(provider, held=False), share=SHARE)
        paths = write(fitting, self._place(provider), Form(str(provider.batch)), ledger)
        for path in paths:
            self._hold(path, requests)
        if not self._ours:
            raise Interrupted(
                f"budget={self._budget:g} is reached: {ledger.spent():.4f} US dollars are spent, and the "
                "next request could cost more than is left; give a larger budget and run the same command "
                "again"
            )

    def _hold(self, path: Path, requests: Spool) -> None:
        """Note what a file holds; one that was written for other settings waits until they are asked for
        again, since nothing else can read its answers."""
        if sum(requests.hold(some) for some in _keys(path)):
            self._ours.add(path)

    def _advanced(self, requests: Spool, provider: Provider, engine: Engine) -> list[Batch]:
        place = self._place(provider)
        paths = sorted(path for path in self._ours if path.parent == place)
        found = engine.run(lambda: advance(paths, requests, provider, engine.ledger, place / "results"))
        for path, batch in zip(paths, found, strict=True):
            if batch.over:  # its answers are in the ledger
                path.unlink()
                self._ours.discard(path)
        return found

    def _say(self, provider: Provider, batch: Batch) -> None:
        """Tell the user how a batch is, when that has changed.

        Raises:
            ProviderError: the vendor would not do it.
        """
        state = batch.state
        if self._said.get(batch.file) != state:
            self._said[batch.file] = state
            how = f"{state.word}, {state.done:,} of {state.total:,} answered"
            print(f"kalign: batch {batch.id} of {provider.name}:{provider.model}: {how}", file=sys.stderr)
        if state.word == "failed" and state.reason:
            raise ProviderError(f"provider {provider.name}: batch {batch.id} failed: {state.reason}")

    def _place(self, provider: Provider) -> Path:
        return self._folder / re.sub(r"[^\w.-]", "-", f"{provider.name}-{provider.model}")
