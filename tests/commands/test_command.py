"""What all commands share."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kalign.commands.command import loading_libraries
from tests.conftest import Result


def test_a_library_that_logs_to_standard_output_leaves_it_to_the_document(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with loading_libraries():
        pass
    logger = logging.getLogger("DeepSpeed")  # as it is made when it is imported
    before = logger.level, logger.propagate
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    handler = logging.StreamHandler(stream=sys.stdout)
    logger.addHandler(handler)
    logger.warning("setting accelerator to CPU")
    logger.error("no such device")
    logger.removeHandler(handler)
    logger.level, logger.propagate = before
    assert capsys.readouterr() == ("", "no such device\n")


def test_a_place_that_cannot_be_written_is_one_sentence_with_code_7(
    kalign_here: Callable[..., Result],
) -> None:
    Path("F").touch()
    words = ["synth", "pipeline=ko_dpo", "target=qwen", "providers=local", "size=10", "out=F/s"]
    refused = kalign_here(*words)
    assert refused.returncode == 7
    assert refused.stderr == "kalign: F/s cannot be read or written: Not a directory; give another place\n"
    with pytest.raises(NotADirectoryError):
        kalign_here(*words, "--debug")
