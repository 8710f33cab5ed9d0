"""One HTML page of what a folder holds: a run, an evaluation, a comparison, an export."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kalign import files, pages
from kalign.errors import ConfigError, DataError
from kalign.evaluation.report import ability, evaluations, judges, runs
from kalign.pages import Section

FILE = "report.html"

Show = Callable[[Path, dict[str, Any]], tuple[str, list[Section]]]
# What a folder is, by the file that makes it so
KINDS: Mapping[str, Show] = {
    "manifest.json": runs.sections,
    "eval.json": evaluations.sections,
    "compare.json": evaluations.comparison_sections,
    "ability.json": ability.sections,
    "calibration.json": judges.sections,
    "certificate.json": runs.certificate_sections,
}


def write(folders: Sequence[Path], systems: Mapping[str, Show] | None = None) -> Path:
    """Write the page of one folder or several into the first, and return its path.

    Args:
        systems: how evaluations of other systems are shown, by the name under `system` in their eval.json.

    Raises:
        ConfigError: a folder holds nothing that a page could show.
        DataError: a file in it cannot be read.
    """
    sections: list[Section] = []
    leads: list[str] = []
    for folder in folders:
        found = [name for name in KINDS if (folder / name).is_file()]
        if not found:
            raise ConfigError(
                f"{folder} is no run, no evaluation, no comparison, no calibration and no export, or "
                f"not a finished one; give a folder that kalign wrote, with one of {', '.join(KINDS)}"
            )
        for name in found:
            content = _json(folder / name)
            lead, made = (systems or {}).get(content.get("system", ""), KINDS[name])(folder, content)
            alike = sum((other / name).is_file() for other in folders) > 1
            sections += [_named(section, folder) for section in made] if alike else made
            leads += [lead] if lead else []
    path = folders[0] / FILE
    title = " · ".join(folder.resolve().name for folder in folders)
    with files.atomic(path) as partial:
        partial.write_text(pages.page(title, sections, lead="\n".join(leads)), encoding="utf-8")
    return path


def _named(section: Section, folder: Path) -> Section:
    """The section with its folder's name, where the page shows several of a kind."""
    return dataclasses.replace(section, title=f"{section.title}: {folder.resolve().name}")


def _json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as wrong:
        raise DataError(f"{path} is damaged ({wrong}); make it again") from wrong
    return content
