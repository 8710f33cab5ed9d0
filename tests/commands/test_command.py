import logging
import sys

import pytest

from kalign.commands.command import loading_libraries


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
