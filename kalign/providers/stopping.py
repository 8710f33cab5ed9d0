"""Being asked to stop while answers are on the way: once means come to an end, twice means now."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from kalign.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@contextlib.contextmanager
def stop_signals(stop: Callable[[str], None]) -> Iterator[None]:
    """Call `stop` with the name of the first signal, in the event loop; leave at once on the second.

    Leaving at once is safe, because the ledger is. Outside the main thread Python hears no signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    import asyncio

    loop = asyncio.get_running_loop()
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        if len(heard) > 1:
            os._exit(Interrupted.exit_code)
        loop.call_soon_threadsafe(stop, signal.Signals(number).name)

    before = [signal.signal(number, hear) for number in SIGNALS]
    try:
        yield
    finally:
        for number, old in zip(SIGNALS, before, strict=True):
            signal.signal(number, old)
