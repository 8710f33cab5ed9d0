"""Which model is asked: a run's adapter, an exported folder, a repository of the Hub, or an endpoint."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kalign import files, runs, yaml_files
from kalign.config import Model, Quantization
from kalign.config.compose import load, root
from kalign.errors import ConfigError, IntegrityError
from kalign.models import loading
from kalign.providers import Provider, local
from kalign.providers import load as load_provider
from kalign.runs import Run

ENDPOINT = "endpoint:"
WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model that can be asked, and what makes its answers its own."""

    name: str
    model: Model = field(default_factory=Model)
    quantization: Quantization = field(default_factory=Quantization)
    adapter: Path | None = None
    provider: Provider | None = None  # where an endpoint answers; then the rest is left as it is

    def identity(self) -> dict[str, Any]:
        """What decides its answers: the weights of the base, how they are held, and those of the adapter."""
        if self.provider is not None:
            named = local.identified(self.provider)
            return {"endpoint": named.name, "model": named.model, "revision": named.revision}
        located = loading.locate(self.model)
        return {
            "base": loading.base_identity(located),
            "dtype": self.model.dtype,
            "load_in_4bit": self.quantization.load_in_4bit,
            "adapter_sha256": files.sha256(self.adapter / WEIGHTS) if self.adapter else None,
        }

    def base(self) -> "Subject":
        """The same without its adapter.

        Raises:
            ConfigError: it has none.
        """
        if self.adapter is None:
            raise ConfigError(
                f"base=true needs an adapter to leave out, and {self.name} is a whole model; name the model "
                "it came from, base=FOLDER or base=OWNER/NAME"
            )
        return dataclasses.replace(self, name=f"base of {self.name}", adapter=None)


def resolve(reference: str, family: str | None) -> Subject:
    """The model that a word names.

    Args:
        reference: a run folder, an adapter's or a model's folder, OWNER/NAME of the Hub, or endpoint: with a
            provider's name.
        family: the file of `conf/model/` that says what its template promises, where none can be found.

    Raises:
        ConfigError: it names nothing, or an unfinished run.
        IntegrityError: the adapter is not the one that the run wrote.
    """
    if reference.startswith(ENDPOINT):
        provider = load_provider(reference.removeprefix(ENDPOINT))
        return Subject(name=f"{provider.name}-{Path(provider.model).name}", provider=provider)
    place = Path(reference).expanduser()
    if (place / "manifest.json").is_file():
        return _run(Run(place))
    if place.name == "adapter" and (place.parent / "manifest.json").is_file():
        return _run(Run(place.parent))
    if (place / "adapter_config.json").is_file():
        return _adapter(place, family)
    model = settings(reference, family)
    name = place.name if place.is_dir() else reference
    return Subject(name=name, model=model)


def settings(reference: str, family: str | None) -> Model:
    """What `conf/model/` says of a model: by its family, or by its repository; else nothing is promised.

    Raises:
        ConfigError: there is no such family.
    """
    folder = root("conf") / "model"
    options = sorted(path.stem for path in folder.glob("*.yaml"))
    if family is not None and family not in options:
        raise ConfigError(f"family={family} is no file of conf/model/; use one of {', '.join(options)}")
    for option in [family] if family else options:
        if not family and yaml_files.read(folder / f"{option}.yaml").get("repo") != reference:
            continue
        model = load(["recipe=tiny", f"model={option}", "trainer.bf16=false"]).model
        return dataclasses.replace(model, repo=reference, template_sha256=None)
    dtype = "bfloat16"
    if (config := Path(reference).expanduser() / "config.json").is_file():
        stated = json.loads(config.read_text(encoding="utf-8"))
        dtype = str(stated.get("dtype") or stated.get("torch_dtype") or dtype)
    return Model(repo=reference, dtype=dtype)


def _run(run: Run) -> Subject:
    if not run.result.is_file():
        raise ConfigError(f"model={run.path} is a run that is not finished; run its command again first")
    manifest, result = run.read_manifest(), run.read_result()
    if files.sha256(run.adapter / WEIGHTS) != result["adapter_sha256"]:
        raise IntegrityError(f"{run.adapter} is not the adapter that the run wrote; train it again")
    recipe = manifest["recipe"]
    known = {part.name for part in dataclasses.fields(Model)} - {"licence"}
    subject = Subject(
        name=run.path.name,
        model=Model(**{key: value for key, value in recipe["model"].items() if key in known}),
        quantization=Quantization(**recipe["adapter"]["quantization"]),
        adapter=run.adapter,
    )
    recorded = {"base": manifest["inputs"]["base"]}
    runs.require_same(recorded, {"base": subject.identity()["base"]}, run)
    return subject


def _adapter(place: Path, family: str | None) -> Subject:
    stated = json.loads((place / "adapter_config.json").read_text(encoding="utf-8"))
    base = str(stated.get("base_model_name_or_path") or "")
    if not base:
        raise ConfigError(f"model={place} does not say whose adapter it is; give the run's folder")
    model = settings(base, family)
    return Subject(name=place.name, model=model, quantization=Quantization(), adapter=place)
