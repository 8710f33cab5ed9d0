"""Endpoints that answer benchmarks, declared in files as a user would."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.providers.server import Server

Declare = Callable[[Server, str], str]


@pytest.fixture
def declared(tmp_path: Path) -> Declare:
    """The path of the file of a model behind a server: declared(server, "model")."""

    def declare(server: Server, model: str) -> str:
        made: dict[str, Any] = {
            key: value
            for key, value in vars(replace(server.provider(), model=model)).items()
            if key != "name"
        }
        made["sampling"], made["licence"] = vars(made["sampling"]), vars(made["licence"])
        path = tmp_path / f"{model}.yaml"
        path.write_text(yaml.safe_dump(made, allow_unicode=True), encoding="utf-8")
        return str(path)

    return declare
