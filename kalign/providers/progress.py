"""How far the answers are, how fast, how long still, and what they cost: one line on standard error."""

from collections import Counter
from types import TracebackType

from tqdm import tqdm

from kalign.providers.answer import Answer


class Progress:
    """A bar that is shown on a terminal only."""

    def __init__(self, total: int | None, label: str, *, shown: bool) -> None:
        hidden = None if shown else True  # None: shown if standard error is a terminal
        self._bar = tqdm(total=total, desc=label, unit="", disable=hidden)
        self._faults: Counter[str] = Counter()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, wrong: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def show(self, answers: list[Answer], spent: float) -> None:
        """Count answers; faults are named, texts never are."""
        if self._bar.disable:
            return
        self._faults.update(answer.status.value for answer in answers if not answer.ok)
        said = [f"{count} {status}" for status, count in sorted(self._faults.items())]
        self._bar.set_postfix_str(", ".join([f"${spent:.2f}", *said]), refresh=False)
        self._bar.update(len(answers))
