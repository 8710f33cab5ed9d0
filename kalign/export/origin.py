"""What a finished run says about itself, and the base that its adapter belongs to."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from kalign import files
from kalign.config import Model, Quantization
from kalign.errors import ConfigError, IntegrityError, ResourceError
from kalign.export.faults import Fault
from kalign.models import exaone, loading
from kalign.models.loading import Located
from kalign.runs import Run

NEEDED = ["*.safetensors", "*.json", "*.jinja", "*.model", "LICENSE*", "NOTICE*"]  # of a Hub repository


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A finished run, its settings, and the folder of its base."""

    run: Run
    manifest: Mapping[str, Any]
    result: Mapping[str, Any]
    model: Model
    quantization: Quantization
    base: Path

    @property
    def located(self) -> Located:
        """The base, as it is loaded."""
        return Located(self.name, self.base, None)

    @property
    def name(self) -> str:
        """How the base is called, without a path of this machine."""
        repo = str(self.manifest["inputs"]["base"]["repo"])
        return Path(repo).name if Path(repo).expanduser().is_dir() else repo

    @property
    def method(self) -> str:
        """How it was trained; runs of DPO do not say so."""
        return str(self.manifest["recipe"].get("method", "dpo"))

    @property
    def is_exaone(self) -> bool:
        """Whether the base is an EXAONE 3.5, which has the vendor's names and could have Llama's."""
        return bool(_json(self.base / "config.json")["model_type"] == exaone.MODEL_TYPE)

    def as_llama(self, format: str) -> bool:
        """Whether an export in this format gets Llama's names in place of the vendor's."""
        return self.is_exaone and format in ("merged", "gguf")


def read(path: Path) -> Origin:
    """The run in the folder `path`, after it has proved finished, whole, and of the base that is there.

    Raises:
        ConfigError: there is no run, or it is not finished.
        IntegrityError: its files are damaged, or the base is another one.
        ResourceError: the base cannot be fetched.
    """
    run = Run(path)
    if not run.manifest.is_file():
        raise ConfigError(f"run={path} is no run folder, for it has no manifest.json; give one from runs/")
    if not run.result.is_file():
        raise ConfigError(f"run={path} is not finished; run its kalign train command again, then export")
    manifest, result = _json(run.manifest), _json(run.result)
    if files.sha256(run.adapter / "adapter_model.safetensors") != result["adapter_sha256"]:
        raise Fault("adapter-damaged", f"{run.adapter} is not the adapter that the run wrote; train it again")
    recipe = manifest["recipe"]
    known = {part.name for part in dataclasses.fields(Model)} - {"licence"}
    model = Model(**{key: value for key, value in recipe["model"].items() if key in known})
    base = _base(model, manifest["inputs"]["base"])
    return Origin(
        run=run,
        manifest=manifest,
        result=result,
        model=model,
        quantization=Quantization(**recipe["adapter"]["quantization"]),
        base=base,
    )


def _base(model: Model, recorded: Mapping[str, Any]) -> Path:
    """The folder of the base's files, at the commit that was trained on."""
    located = loading.locate(model)
    if located.folder is not None:
        now = loading.base_identity(located)["weights_sha256"]
        if now != recorded.get("weights_sha256"):
            raise Fault(
                "wrong-base",
                f"{located.name} holds other weights ({now[:12]}) than those trained on "
                f"({str(recorded.get('weights_sha256'))[:12]}); put the ones of the training back",
            )
        return located.folder
    commit = recorded.get("commit") or model.revision
    try:
        return Path(huggingface_hub.snapshot_download(located.name, revision=commit, allow_patterns=NEEDED))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as wrong:
        raise ResourceError(
            f"the base {located.name} at {commit} is neither in the cache nor reachable; go online, or fetch "
            f"it with: hf download {located.name} --revision {commit}"
        ) from wrong


def _json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as wrong:
        raise IntegrityError(f"{path} is damaged ({wrong}); train the run again") from wrong
    return content
