"""The image is not built here: its file is read, and what a linter would say is asserted."""

import re
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser

from tests.conftest import ROOT

ORDER = ["FROM", "RUN", "USER", "WORKDIR", "COPY", "RUN", "ENV", "WORKDIR", "ENTRYPOINT", "CMD"]


@pytest.fixture
def steps(tmp_path: Path) -> list[tuple[str, str]]:
    """Each instruction and what it says; the parser opens its file for writing, so it gets a copy."""
    copy = tmp_path / "Dockerfile"
    copy.write_text((ROOT / "Dockerfile").read_text(encoding="utf-8"), encoding="utf-8")
    parser = DockerfileParser(path=str(copy))
    said = [(step["instruction"], step["value"]) for step in parser.structure]
    return [step for step in said if step[0] != "COMMENT"]


def test_the_base_is_a_pinned_cuda_runtime_and_the_steps_stand_in_an_order_that_caches(
    steps: list[tuple[str, str]],
) -> None:
    assert [instruction for instruction, _ in steps] == ORDER
    assert re.fullmatch(r"nvidia/cuda:\d+\.\d+\.\d+-runtime-ubuntu\d\d\.\d\d", steps[0][1])


def test_the_image_installs_by_the_makefiles_own_line(steps: list[tuple[str, str]]) -> None:
    def installs(text: str) -> list[str]:
        return re.findall(r"\.venv/bin/pip install [^\n]+", re.sub(r'"\.\[[\w,]+\]"', '"."', text))

    make = installs((ROOT / "Makefile").read_text(encoding="utf-8"))
    make = [line for line in make if "--no-deps" not in line]  # what only tests need
    assert len(make) == 1
    assert installs("\n".join(value for _, value in steps)) == make


def test_it_runs_as_nobody_in_particular_and_installs_as_such(steps: list[tuple[str, str]]) -> None:
    users = [value for instruction, value in steps if instruction == "USER"]
    assert users == ["kalign"]
    pip = next(number for number, (_, value) in enumerate(steps) if "pip install" in value)
    assert pip > steps.index(("USER", "kalign"))


def test_downloads_stay_in_cache_mounts_and_nothing_unpinned_is_fetched(steps: list[tuple[str, str]]) -> None:
    apt, pip = (value for instruction, value in steps if instruction == "RUN")
    for folder in ("/var/cache/apt", "/var/lib/apt"):
        assert f"--mount=type=cache,target={folder}" in apt
    assert "--mount=type=cache,target=/home/kalign/.cache/pip" in pip
    assert "--no-install-recommends" in apt
    assert "--constraint constraints.txt" in pip
    assert not re.search(r"\b(curl|wget|sudo)\b|--trusted-host|:latest|\bADD\b", str(steps))


def test_no_secret_goes_in(steps: list[tuple[str, str]]) -> None:
    assert "ARG" not in [instruction for instruction, _ in steps]
    assert not re.search(r"(?i)token|secret|password|api_key", str(steps))
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored  # what is not named stays outside
    named = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert all((ROOT / name).exists() for name in named)
    included = {
        "kalign",
        "conf",
        "recipes",
        "launch",
        "pyproject.toml",
        "constraints.txt",
        "README.md",
        "LICENSE",
    }
    assert included <= named
