"""Export a run: write into a partial folder, prove it in a fresh process, and only then give it its name."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kalign import files
from kalign.config.rules import one_of
from kalign.errors import ConfigError, DataError, IntegrityError, KalignError, NumericError, ResourceError
from kalign.export import card, checks, companions, merge, origin
from kalign.export.faults import CODES, Fault
from kalign.export.origin import Origin
from kalign.models import exaone

FORMATS = ("merged", "adapter", "vendor", "gguf")
DTYPES = ("float32", "bfloat16", "float16")
BASES = ("16bit", "dequantised")
CERTIFICATE = "certificate.json"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to export, as the words of the command say it."""

    run: Path
    out: Path
    format: str = "merged"
    dtype: str | None = None
    base: str | None = None
    accept_loss: bool = False


def export(wanted: Wanted) -> dict[str, Any]:
    """Write the export and return its certificate.

    Raises:
        KalignError: it cannot be, or a line of the certificate does not hold; then nothing is left.
    """
    _check(wanted)
    made = origin.read(wanted.run)
    base = _base(wanted, made)
    is_exaone = _model_type(made.base) == exaone.MODEL_TYPE
    if wanted.format == "vendor" and not is_exaone:
        raise ConfigError(
            "format=vendor is for EXAONE, whose own names differ from Llama's; use format=merged"
        )
    wanted.out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{wanted.out.name}-", dir=wanted.out.parent))
    other = None
    try:
        _fill(wanted, made, partial, base, llama=is_exaone and wanted.format == "merged")
        if made.quantization.load_in_4bit and wanted.format != "adapter":
            other = Path(tempfile.mkdtemp(prefix=f".{wanted.out.name}-other-", dir=wanted.out.parent))
            rest = next(one for one in BASES if one != base)
            _fill(wanted, made, other, rest, llama=is_exaone and wanted.format == "merged")
        certificate = prove(wanted, partial, base, other)
        files.write_json(partial / CERTIFICATE, certificate)
        (partial / "README.md").write_text(card.text(made, certificate, wanted.out.name), encoding="utf-8")
        companions.write_sums(partial)
        checks.tidy(partial)
        partial.chmod(0o755)
        partial.rename(wanted.out)
    except OSError as wrong:
        files.raise_if_full(wrong, wanted.out)
        raise
    finally:
        for folder in (partial, other):
            if folder:
                shutil.rmtree(folder, ignore_errors=True)
    return certificate


def verify(folder: Path, run: Path | None) -> dict[str, Any]:
    """Check an export again: its sums, and with its run everything else; returns the certificate."""
    if not (folder / CERTIFICATE).is_file():
        raise Fault("sums", f"{folder} has no {CERTIFICATE}; it is no export, or not a whole one")
    checks.sums(folder)
    checks.tidy(folder)
    certificate: dict[str, Any] = json.loads((folder / CERTIFICATE).read_text(encoding="utf-8"))
    if run is not None:
        dtype = certificate["dtype"]
        wanted = Wanted(
            run=run,
            out=folder,
            format=certificate["format"],
            dtype=dtype if dtype in DTYPES else None,
            accept_loss=certificate.get("accepted_loss", False),
        )
        again = prove(wanted, folder, certificate["base"]["merged_into"], None)
        if again["adapter_sha256"] != certificate["adapter_sha256"]:
            raise Fault("adapter-damaged", f"{run} is not the run that {folder} was exported from")
    return certificate


def prove(wanted: Wanted, folder: Path, base: str, other: Path | None) -> dict[str, Any]:
    """The certificate of `folder`, computed by a fresh process.

    Raises:
        KalignError: of the kind that the process found.
    """
    asked = {
        "folder": str(folder),
        "run": str(wanted.run),
        "kind": wanted.format,
        "dtype": wanted.dtype,
        "base": base,
        "accept_loss": wanted.accept_loss,
        "other": str(other) if other else None,
    }
    command = [sys.executable, "-m", "kalign.export.verify", json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    try:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError) as wrong:
        said = " ".join(done.stderr.split())[-400:]
        raise ResourceError(
            f"the process that proves the export ended with {done.returncode}: {said}"
        ) from wrong
    if done.returncode:
        raise _raised(answer, done.returncode)
    return answer


def _raised(answer: dict[str, str], code: int) -> KalignError:
    if answer["fault"] in CODES:
        return Fault(answer["fault"], answer["message"].partition("] ")[2])
    kinds = {
        kind.exit_code: kind for kind in (ConfigError, DataError, IntegrityError, NumericError, ResourceError)
    }
    return kinds.get(code, IntegrityError)(answer["message"])


def _check(wanted: Wanted) -> None:
    one_of("format", wanted.format, FORMATS)
    if wanted.dtype is not None:
        one_of("dtype", wanted.dtype, DTYPES)
    if wanted.base is not None:
        one_of("base", wanted.base, BASES)
    if wanted.format == "gguf":
        raise ConfigError(
            "format=gguf needs llama.cpp's convert_hf_to_gguf.py, which no package carries; export "
            "format=merged, then run that script of a llama.cpp checkout (with pip install "
            "gguf) on the folder"
        )
    if wanted.out.exists():
        raise ConfigError(f"out={wanted.out} exists; give a folder that does not, or remove it")


def _base(wanted: Wanted, made: Origin) -> str:
    if not made.quantization.load_in_4bit:
        if wanted.base == "dequantised":
            raise ConfigError(
                "base=dequantised is for runs on 4-bit weights, and this one had none; leave it out"
            )
        return "16bit"
    return wanted.base or "dequantised"  # what the adapter was trained on


def _fill(wanted: Wanted, made: Origin, out: Path, base: str, *, llama: bool) -> None:
    adapter_only = wanted.format == "adapter"
    companions.copy(made, out, adapter_only=adapter_only)
    if adapter_only:
        shutil.copyfile(made.run.adapter / "adapter_model.safetensors", out / "adapter_model.safetensors")
        settings = json.loads((made.run.adapter / "adapter_config.json").read_text(encoding="utf-8"))
        settings["base_model_name_or_path"] = made.name  # never a path of this machine
        files.write_json(out / "adapter_config.json", settings)
        return
    companions.write_config(made, out, dtype=wanted.dtype, llama=llama)
    merge.write(made, merge.plan(made, dtype=wanted.dtype, base=base, llama=llama), out)


def _model_type(folder: Path) -> str:
    return str(json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"])
