"""Export a run: write into a partial folder, prove it in a fresh process, and only then give it its name."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kalign import files
from kalign.config.rules import one_of
from kalign.errors import ConfigError
from kalign.export import alone, card, companions, gguf, merge, origin, partials
from kalign.export.alone import CERTIFICATE
from kalign.export.origin import Origin
from kalign.export.prover import Prover, Question, Tell, silent

FORMATS = ("merged", "adapter", "vendor", "gguf")
DTYPES = ("float32", "bfloat16", "float16")
BASES = ("16bit", "dequantised")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to export, as the words of the command say it."""

    run: Path
    out: Path
    format: str = "merged"
    dtype: str | None = None
    base: str | None = None
    accept_loss: bool = False


def export(wanted: Wanted, prover: Prover, tell: Tell = silent) -> dict[str, Any]:
    """Write the export and return its certificate.

    Raises:
        KalignError: it cannot be, or a line of the certificate does not hold; then nothing is left.
    """
    _check(wanted)
    made = origin.read(wanted.run)
    base = _base(wanted, made)
    if wanted.format == "vendor" and not made.is_exaone:
        raise ConfigError(
            "format=vendor is for EXAONE, whose own names differ from Llama's; use format=merged"
        )
    try:
        with partials.beside(wanted.out) as room:
            return _export(wanted, made, base, room, prover, tell)
    except OSError as wrong:
        files.raise_if_full(wrong, wanted.out)
        raise


def verify(
    folder: Path, run: Path | None, prover: Prover | None = None, tell: Tell = silent
) -> dict[str, Any]:
    """Check an export again, by its files alone, or with its run by everything that was measured.

    Returns:
        The certificate that lies in the folder.

    Raises:
        ConfigError: a GGUF's run is given, which cannot be measured again.
        Fault: a line of it does not hold.
    """
    noted = alone.certificate(folder)
    alone.sums(folder, noted["files"])
    alone.tidy(folder)
    format = noted["format"]
    whole = format in ("merged", "vendor")
    if format != "gguf":
        alone.tokens(folder, noted["tokens"], noted["tokens"]["turn_end"] if whole else None)
    if whole:
        alone.tensors(folder, noted["tensors"], tell)
    if run is None:
        return noted
    if format == "gguf":
        raise ConfigError("format=gguf is measured only while it is made; leave run out, or export it again")
    dtype, base = noted["dtype"], noted["base"]["merged_into"]
    question = Question(
        folder=str(folder.resolve()),
        run=str(run.resolve()),
        format=format,
        dtype=dtype if dtype in DTYPES else None,
        base=base,
        accept_loss=noted.get("accepted_loss", False),
        adapter_sha256=noted["adapter_sha256"],
    )
    if prover is not None:
        prover.prove(question, tell)
    else:
        with Prover() as own:
            own.prove(question, tell)
    return noted


def _check(wanted: Wanted) -> None:
    one_of("format", wanted.format, FORMATS)
    if wanted.dtype is not None:
        one_of("dtype", wanted.dtype, DTYPES)
    if wanted.base is not None:
        one_of("base", wanted.base, BASES)
    if wanted.format == "adapter" and (wanted.dtype or wanted.base):
        raise ConfigError("format=adapter copies the adapter as it is; leave dtype and base out")
    if wanted.format == "gguf":
        gguf.require()
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


def _export(
    wanted: Wanted, made: Origin, base: str, room: Path, prover: Prover, tell: Tell
) -> dict[str, Any]:
    partial, other = room / "export", None
    _fill(wanted, made, partial, base, tell)
    if made.quantization.load_in_4bit and wanted.format != "adapter":
        other = room / "other"
        _fill(wanted, made, other, next(one for one in BASES if one != base), tell)
    question = Question(
        folder=str(partial.resolve()),
        run=str(wanted.run.resolve()),
        format=wanted.format,
        dtype=wanted.dtype,
        base=base,
        accept_loss=wanted.accept_loss,
        other=str(other.resolve()) if other else None,
    )
    certificate = prover.prove(question, tell)
    if wanted.format == "gguf":
        merged, partial = partial, room / "gguf"
        certificate["gguf"] = gguf.convert(merged, partial, wanted.out.name, tell)
    _finish(wanted, made, partial, certificate, tell)
    return certificate


def _finish(wanted: Wanted, made: Origin, partial: Path, certificate: dict[str, Any], tell: Tell) -> None:
    """Add certificate, card and sums, and give the folder its name."""
    tell("hashing the files", 0, 1)
    hashes = companions.sums(partial)
    certificate["files"] = hashes
    files.write_json(partial / CERTIFICATE, certificate)
    (partial / "README.md").write_text(card.text(made, certificate, wanted.out.name), encoding="utf-8")
    late = {name: files.sha256(partial / name) for name in (CERTIFICATE, "README.md")}
    companions.write_sums(partial, dict(sorted((hashes | late).items())))
    alone.tidy(partial)
    for path in partial.rglob("*"):
        files.flush(path)
    partial.rename(wanted.out)
    files.flush(wanted.out.parent)


def _fill(wanted: Wanted, made: Origin, out: Path, base: str, tell: Tell) -> None:
    out.mkdir()
    adapter_only = wanted.format == "adapter"
    companions.copy(made, out, adapter_only=adapter_only)
    if adapter_only:
        shutil.copyfile(made.run.adapter / "adapter_model.safetensors", out / "adapter_model.safetensors")
        settings = json.loads((made.run.adapter / "adapter_config.json").read_text(encoding="utf-8"))
        settings["base_model_name_or_path"] = made.name  # never a path of this machine
        files.write_json(out / "adapter_config.json", settings)
        return
    llama = made.as_llama(wanted.format)
    files.write_json(out / "config.json", companions.config(made, dtype=wanted.dtype, llama=llama))
    merge.write(made, merge.plan(made, dtype=wanted.dtype, base=base, llama=llama), out, tell)
    if wanted.format == "vendor" or not companions.reads_plainly(out):
        companions.add_own_folder(out)
