"""The other process: it computes certificates from files on disk, and knows nothing of who wrote them."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any

from kalign.errors import ConfigError, DataError, IntegrityError, KalignError, NumericError, ResourceError
from kalign.export.faults import CODES, Fault

CATEGORIES = {
    kind.exit_code: kind for kind in (ConfigError, DataError, IntegrityError, NumericError, ResourceError)
}
Tell = Callable[[str, int, int], None]  # what is going on, how many steps of it are done, of how many


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is to be certified: an export, and what it was made from and with."""

    folder: str
    run: str
    format: str
    dtype: str | None
    base: str  # 16bit or dequantised: the weights that the adapter was merged into
    accept_loss: bool = False
    adapter_sha256: str | None = None  # of the adapter that an export says it is of
    other: str | None = None  # for a 4-bit run: the merge into the other base, to be measured beside it


def silent(stage: str, done: int, of: int) -> None:
    """Tell nobody."""


class Prover:
    """A process that loads the libraries at once, while an export is being written, and then answers.

    Each question is answered by a fork of it, so that none sees what another did. Only where a library has
    already touched a GPU, which no fork survives, it answers one question itself and ends.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._said = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (__exit__ closes it)

    def __enter__(self) -> "Prover":
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, wrong: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        self._said.close()

    def prove(self, question: Question, tell: Tell = silent) -> dict[str, Any]:
        """The certificate.

        Raises:
            KalignError: of the kind that the process found; a line that does not hold is a Fault.
            ResourceError: the process was ended from outside.
        """
        process = self._start()
        assert process.stdin and process.stdout
        try:
            process.stdin.write(json.dumps(asdict(question)) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                answer: dict[str, Any] = json.loads(line)
                if "at" in answer:
                    tell(answer["at"], answer["done"], answer["of"])
                elif "fault" in answer:
                    raise _raised(answer)
                elif "certificate" in answer:
                    return dict(answer["certificate"])
                else:
                    break
        except BrokenPipeError:
            pass
        self._said.seek(0)
        said = " ".join(self._said.read().split())[-400:]
        raise ResourceError(
            f"the process that proves the export was ended, most likely for want of memory: {said or '-'}"
        )

    def _start(self) -> "subprocess.Popen[str]":
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kalign.export.verify"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                text=True,
                env=os.environ,
            )
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _raised(answer: dict[str, Any]) -> KalignError:
    if answer["fault"] in CODES:
        return Fault(answer["fault"], answer["message"].partition("] ")[2])
    return CATEGORIES.get(answer["exit_code"], IntegrityError)(answer["message"])
