"""Upload an export to the Hub: a dry run unless told, and never without a certificate that holds."""

from pathlib import Path
from typing import Any

import huggingface_hub

from kalign.errors import ConfigError
from kalign.export import export
from kalign.models.loading import HUB_ID


def push(folder: Path, repo: str, run: Path | None, *, yes: bool) -> dict[str, Any]:
    """Check the export, and upload it if `yes`; returns the files with their sizes in bytes.

    Raises:
        ConfigError: `repo` is no OWNER/NAME.
        Fault: the export is not what its certificate says.
    """
    if not HUB_ID.fullmatch(repo):
        raise ConfigError(f"repo={repo} is no OWNER/NAME of the Hub")
    export.verify(folder, run)
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    if yes:
        api = huggingface_hub.HfApi()
        api.create_repo(repo, private=True, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=folder)
    return {"repo": repo, "files": sizes, "uploaded": yes}
