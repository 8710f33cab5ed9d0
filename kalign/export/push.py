"""Upload an export to the Hub: a dry run unless told, and never without a certificate that holds."""

from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError

from kalign.errors import ConfigError, ResourceError
from kalign.export import alone, export
from kalign.export.prover import Tell
from kalign.models.loading import HUB_ID


def push(folder: Path, repo: str, run: Path | None, tell: Tell, *, yes: bool) -> dict[str, Any]:
    """Check the export, and upload it if `yes`; returns the files with their sizes in bytes.

    Raises:
        ConfigError: `repo` is no OWNER/NAME, or its name is not one that the base's licence allows.
        Fault: the export is not what its certificate says.
        ResourceError: the Hub refuses or cannot be reached.
    """
    if not HUB_ID.fullmatch(repo):
        raise ConfigError(f"repo={repo} is no OWNER/NAME of the Hub; give one, such as me/my-model")
    licence = alone.certificate(folder).get("licence") or {}
    prefix = licence.get("name_prefix")
    if prefix and not repo.partition("/")[2].startswith(prefix):
        raise ConfigError(
            f"repo={repo}: the licence of the base, {licence['name']}, wants names of derivatives to begin "
            f"with {prefix!r}; choose such a name"
        )
    export.verify(folder, run, tell=tell)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}
    if yes:
        api = huggingface_hub.HfApi()
        try:
            api.create_repo(repo, private=True, exist_ok=True)
            api.upload_folder(repo_id=repo, folder_path=folder)
        except (HfHubHTTPError, OSError) as wrong:
            said = " ".join(str(wrong).split())[:200]
            raise ResourceError(
                f"the Hub does not take {repo}: {said}; log in with hf auth login, and go online"
            ) from wrong
    return {"repo": repo, "files": sizes, "uploaded": yes}
