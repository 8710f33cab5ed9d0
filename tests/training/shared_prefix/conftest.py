"""One thread: these models are so small that threads only wait for each other."""

import pytest


@pytest.fixture(autouse=True)
def on_one_thread(one_thread: None) -> None:
    """For every test of the folder."""
