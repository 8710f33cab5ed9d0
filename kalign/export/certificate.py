"""The certificate of an export: every line is computed from the files on disk, or it is a Fault."""

import dataclasses
import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

import kalign
from kalign import files
from kalign.config import Quantization
from kalign.export import alone, checks, measure, merge, origin, shards
from kalign.export.faults import Fault
from kalign.export.measure import Look, Row
from kalign.export.origin import Origin
from kalign.export.prover import Question, Tell
from kalign.models import loading, promises
from kalign.models.chat import Chat
from kalign.records import Message

SMALLEST = 0.95  # of what was learned, a merge must keep
ROWS = 32  # pairs that are measured
GOLDEN = Path(__file__).parent / "golden.json"
MADE_BY = ("torch", "transformers", "peft", "tokenizers", "safetensors", "bitsandbytes")
ROOM = 1.25  # of its weights, a model in float32 takes on a device


def certify(question: Question, read: Mapping[str, list[list[int]] | str], tell: Tell) -> dict[str, Any]:
    """Check everything that a certificate says, and return it.

    Args:
        read: the battery's ids by folder, as AutoTokenizer cut them before kalign was loaded.

    Raises:
        Fault: the first line that does not hold.
    """
    tell("reading the run and its base", 0, 1)
    made = origin.read(Path(question.run))
    folder = Path(question.folder)
    if question.adapter_sha256 not in (None, made.result["adapter_sha256"]):
        raise Fault(
            "wrong-run", f"{folder} was not exported from {made.run.path}; give the run that it is of"
        )
    chat = promises.as_declared(made.model, loading.load_tokenizer(made.model, made.located))
    adapter_only = question.format == "adapter"
    trained = {key: made.manifest["inputs"][key] for key in ("template_sha256", "tokenizer_sha256")}
    alone.tokens(folder, trained, None if adapter_only else chat.turn_end_id)
    checks.copied(folder, made, adapter_only=adapter_only)
    certificate: dict[str, Any] = {
        "format": question.format,
        "dtype": question.dtype or "as the base",
        "base": {**made.manifest["inputs"]["base"], "repo": made.name, "merged_into": question.base},
        "run": made.result["run"],
        "adapter_sha256": made.result["adapter_sha256"],
        "licence": made.manifest["recipe"]["model"].get("licence"),
        "made_by": {
            "kalign": kalign.__version__,
            **{name: importlib.metadata.version(name) for name in MADE_BY},
        },
        "tokens": {**trained, "turn_end": chat.turn_end_id, "auto_tokenizer": alone.plain(folder, read)},
    }
    if adapter_only:
        _same_adapter(folder, made)
        return certificate
    llama = made.as_llama(question.format)
    checks.settings(folder, made, dtype=question.dtype, llama=llama)
    what = merge.plan(made, dtype=question.dtype, base=question.base, llama=llama)
    checks.structure(folder, made, what)
    certificate["tensors"] = {
        "all": len(shards.shapes(made.base)),
        "trained": len(what.layers),
        "dequantised": len(what.dequantised - set(what.layers)),
        "differ_from_base": checks.contents(folder, made, what, tell),
        "header_sha256": alone.header_sha256(folder),
    }
    certificate["stops"] = alone.stops(folder)
    return certificate | _measured(made, chat, question, tell)


def _same_adapter(folder: Path, made: Origin) -> None:
    path = folder / "adapter_model.safetensors"
    if not path.is_file() or files.sha256(path) != made.result["adapter_sha256"]:
        raise Fault("adapter-damaged", f"{path} is not the adapter that the run wrote; export again")


def _measured(made: Origin, chat: Chat, question: Question, tell: Tell) -> dict[str, Any]:
    source, rows = _rows(made)
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    prompts = [chat.prompt_ids((Message(role="user", content=text),)) for text in golden]
    device = _device(made)

    def seen(model: Any, name: str) -> Look:
        return measure.look(
            model, rows, prompts, [chat.turn_end_id], lambda done, of: tell(f"measuring {name}", done, of)
        )

    before, after, own = _trained(made, device, seen)
    beta = made.manifest["recipe"]["loss"]["beta"] if made.method == "dpo" else None

    def against(where: str, merged_into: str) -> dict[str, Any]:
        merged, info = AutoModelForCausalLM.from_pretrained(
            where, dtype=torch.float32, output_loading_info=True
        )
        if info["missing_keys"] or info["unexpected_keys"]:
            raise Fault("does-not-load", f"{where} loads with weights missing or left over; export again")
        look = seen(merged.eval().to(device), f"the merge into {merged_into} weights")
        return dict(measure.compared(before, after, look, beta, own if merged_into == "16bit" else None))

    measured = {"pairs_from": source, **against(question.folder, question.base)}
    found: dict[str, Any] = {"measured": measured}
    if question.other:
        name = "16bit" if question.base == "dequantised" else "dequantised"
        found["other_base"] = {"merged_into": name, **against(question.other, name)}
    found["accepted_loss"] = _judged(measured, question.accept_loss)
    return found


def _rows(made: Origin) -> tuple[str, list[Row]]:
    """What is scored, and where it is from: held-out pairs, or, if there are none, pairs of the training;
    answers of the training where it knew no pairs."""
    if made.method != "dpo":
        some = [row for _, row in files.read_parquet(made.run.pairs / "train.parquet")][:ROWS]
        return "the training, single answers", [(row["prompt_ids"], row["answer_ids"]) for row in some]
    name = "eval" if made.manifest["ledger"]["eval"] else "train"
    pairs = [row for _, row in files.read_parquet(made.run.pairs / f"{name}.parquet")][:ROWS]
    rows = [(row["prompt_ids"], row[side]) for row in pairs for side in ("chosen_ids", "rejected_ids")]
    return "held out" if name == "eval" else "the training, for none were held out", rows


def _trained(made: Origin, device: torch.device, seen: Any) -> tuple[Look, Look, Look | None]:
    """The base that was trained on, the same with its adapter, and, if that was in 4 bits, the base in 16."""
    in_4bit = made.quantization.load_in_4bit
    quantization = dataclasses.replace(made.quantization, bnb_4bit_compute_dtype="float32")
    whole = dataclasses.replace(made.model, dtype="float32")
    base = loading.load_model(made.model if in_4bit else whole, made.located, quantization, device=device)
    model = PeftModel.from_pretrained(base, str(made.run.adapter)).eval()
    if not in_4bit:
        model.to(device)
    with model.disable_adapter():
        before = seen(model, "the base that was trained on")
    after = seen(model, "the trained model")
    del model, base
    if not in_4bit:
        return before, after, None
    own = loading.load_model(whole, made.located, Quantization(), device=device).eval().to(device)
    return before, after, seen(own, "the base in 16 bits")


def _device(made: Origin) -> torch.device:
    """The GPU, if the model fits on it in float32."""
    if torch.cuda.is_available():
        weights = sum(torch.Size(sizes).numel() for _, sizes in shards.shapes(made.base).values())
        if weights * 4 * ROOM < torch.cuda.mem_get_info()[0]:
            return torch.device("cuda")
    return torch.device("cpu")


def _judged(measured: Mapping[str, Any], accept_loss: bool) -> bool:
    """Whether less is left than asked for, and that was accepted."""
    kept = [value for key in ("retention", "margin_retention") if (value := measured[key]) is not None]
    if not kept:
        raise Fault(
            "nothing-merged", "the adapter changes nothing of what the model says; it has learned nothing"
        )
    margins = measured["margin_retention"]
    spelled = f"retention {measured['retention']:.3f}"
    spelled += "" if margins is None else f", of the margins {margins:.3f}"
    if max(kept) > 1 / SMALLEST and min(kept) >= SMALLEST:
        raise Fault(
            "effect-overshoots", f"the export does more than was learned ({spelled}); it is no merge of it"
        )
    if min(kept) >= SMALLEST:
        return False
    if not accept_loss:
        raise Fault(
            "effect-lost",
            f"{spelled}, less than {SMALLEST}: rounding took what was learned; use dtype=float16, "
            "dtype=float32, format=adapter, or accept_loss=true, which the card will say",
        )
    return True
