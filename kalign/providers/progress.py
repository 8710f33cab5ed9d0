"""How far the answers are, how fast, how long still, and what they cost: one line on standard error."""

from collections import Counter
from collections.abc import Callable

from tqdm import tqdm

from kalign.providers.answer import Answer


class Progress:
    """A bar that is shown on a terminal only.

    Args:
        total: how many answers there will be, if that is known.
        spent: tells the US dollars spent so far.
    """

    def __init__(self, total: int | None, label: str, *, shown: bool, spent: Callable[[], float]) -> None:
        hidden = None if shown else True  # None: shown if standard error is a terminal
        self._bar = tqdm(total=total, desc=label, unit="", disable=hidden)
        self._spent = spent
        self._faults: Counter[str] = Counter()

    def show(self, answers: list[Answer]) -> None:
        """Count answers; faults are named, texts never are."""
        if self._bar.disable or not answers:
            return
        self._faults.update(answer.status.value for answer in answers if not answer.ok)
        said = [f"{count} {status}" for status, count in sorted(self._faults.items())]
        self._bar.set_postfix_str(", ".join([f"${self._spent():.2f}", *said]), refresh=False)
        self._bar.update(len(answers))

    def close(self) -> None:
        """Leave the line as it is."""
        self._bar.close()
