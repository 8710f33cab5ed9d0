"""The certificate, made in a process of its own from the files on disk."""

import json
import sys
from pathlib import Path
from typing import Any

SMALLEST = 0.95  # of what was learned, a merge must keep
ROWS = 32  # held-out pairs that are measured


def main(words: list[str]) -> int:
    """Print the certificate of what the JSON word asks for, or the fault that was found."""
    from kalign.errors import KalignError

    asked = json.loads(words[0])
    plainly = plain_tokens(Path(asked["folder"]))  # before any of kalign's classes is known to transformers
    try:
        answer = certify(plainly=plainly, **asked)
        code = 0
    except KalignError as wrong:
        answer = {"fault": getattr(wrong, "code", type(wrong).__name__), "message": str(wrong)}
        code = wrong.exit_code
    print("\n" + json.dumps(answer, ensure_ascii=False))
    return code


def plain_tokens(folder: Path) -> list[list[int]] | None:
    """The battery's texts as transformers' own AutoTokenizer cuts them; None where it cannot load."""
    from transformers import AutoTokenizer

    texts = json.loads((Path(__file__).parent.parent / "models/battery.json").read_text(encoding="utf-8"))
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        return [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    except Exception:  # whatever it is, it is reported as "does not load there"
        return None


def certify(
    *,
    folder: str,
    run: str,
    kind: str,
    dtype: str | None,
    base: str,
    accept_loss: bool,
    other: str | None = None,
    plainly: list[list[int]] | None = None,
) -> dict[str, Any]:
    """Check everything that a certificate says, and return it.

    Args:
        folder: the export; `kind` is its format, `dtype` and `base` what it was made with.
        other: for a QLoRA run, the merge with the other base, to be measured beside it.

    Raises:
        Fault: the first line that does not hold.
    """
    from kalign.export import checks, merge, origin

    made = origin.read(Path(run))
    where = Path(folder)
    llama = kind == "merged" and made.model.family is not None and _is_exaone(made.base)
    certificate: dict[str, Any] = {
        "format": kind,
        "dtype": dtype or "as the base",
        "base": {**made.manifest["inputs"]["base"], "repo": made.name, "merged_into": base},
        "adapter_sha256": made.result["adapter_sha256"],
    }
    chat = _chat(made)
    checks.tokens(where, made, None if kind == "adapter" else chat.turn_end_id)
    certificate["tokens"] = {**_equal_inputs(made), "plain_tokenizer": _plainly(where, plainly)}
    what = merge.plan(made, dtype=dtype, base=base, llama=llama)
    if kind == "adapter":
        _same_adapter(where, made)
        return certificate
    checks.structure(where, made, what)
    certificate["tensors"] = {
        "all": len(made_shapes(made)),
        "trained": len(what.layers),
        "differ_from_base": checks.contents(where, made, what),
    }
    return certificate | _measured(made, chat, where, base, Path(other) if other else None, accept_loss)


def made_shapes(made: Any) -> dict[str, Any]:
    """Type and sizes of the base's tensors."""
    from kalign.export import shards

    return shards.shapes(made.base)


def _is_exaone(base: Path) -> bool:
    return bool(json.loads((base / "config.json").read_text(encoding="utf-8"))["model_type"] == "exaone")


def _equal_inputs(made: Any) -> dict[str, str]:
    return {key: made.manifest["inputs"][key] for key in ("template_sha256", "tokenizer_sha256")}


def _plainly(folder: Path, plainly: list[list[int]] | None) -> str:
    from tokenizers import Tokenizer

    from kalign.models import tokenization

    if plainly is None:
        return "does not load without kalign"
    raw = Tokenizer.from_file(str(folder / "tokenizer.json"))
    wanted = [raw.encode(text, add_special_tokens=False).ids for text in tokenization.battery()]
    return "exact" if plainly == wanted else "differs: load it with PreTrainedTokenizerFast"


def _chat(made: Any) -> Any:
    from kalign.models.chat import Chat
    from kalign.models.loading import load_tokenizer

    model = made.model
    tokenizer = load_tokenizer(model, made.located)
    return Chat(
        tokenizer, bos_count=model.bos_count, turn_end=model.turn_end, template_kwargs=model.template_kwargs
    )


def _same_adapter(folder: Path, made: Any) -> None:
    from kalign import files
    from kalign.export.faults import Fault

    name = "adapter_model.safetensors"
    if not (folder / name).is_file() or files.sha256(folder / name) != made.result["adapter_sha256"]:
        raise Fault("adapter-damaged", f"{folder}/{name} is not the adapter that the run wrote")


def _measured(
    made: Any, chat: Any, folder: Path, base: str, other: Path | None, accept_loss: bool
) -> dict[str, Any]:
    import dataclasses

    import torch
    from peft import PeftModel

    from kalign import files
    from kalign.config import Quantization
    from kalign.export import checks, measure
    from kalign.export.faults import Fault
    from kalign.models import loading
    from kalign.records import Message

    pairs = [row for _, row in files.read_parquet(made.run.pairs / "eval.parquet")][:ROWS]
    rows = [(row["prompt_ids"], row[side]) for row in pairs for side in ("chosen_ids", "rejected_ids")]
    golden = json.loads((Path(__file__).parent / "golden.json").read_text(encoding="utf-8"))
    prompts = [chat.prompt_ids((Message(role="user", content=text),)) for text in golden]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    ends = [chat.turn_end_id]

    def seen(model: Any) -> Any:
        return measure.look(model.to(device) if not in_4bit else model, rows, prompts, ends)

    in_4bit = made.quantization.load_in_4bit
    quantization = dataclasses.replace(made.quantization, bnb_4bit_compute_dtype="float32")
    settings = made.model if in_4bit else dataclasses.replace(made.model, dtype="float32")
    trained = loading.load_model(settings, made.located, quantization, device=device)
    model = PeftModel.from_pretrained(trained, str(made.run.adapter)).eval()
    with model.disable_adapter():
        before = seen(model)
    after = seen(model)
    del model, trained
    in_4bit = False
    own = None
    if made.quantization.load_in_4bit:
        whole = dataclasses.replace(made.model, dtype="float32")
        own = seen(loading.load_model(whole, made.located, Quantization(), device=device).eval())
    beta = made.manifest["recipe"]["loss"]["beta"]

    def against(where: Path, merged_into: str) -> dict[str, Any]:
        from transformers import AutoModelForCausalLM

        merged, info = AutoModelForCausalLM.from_pretrained(
            where, dtype=torch.float32, output_loading_info=True
        )
        if info["missing_keys"] or info["unexpected_keys"]:
            raise Fault("does-not-load", f"{where} loads with weights missing or left over")
        start = own if merged_into == "16bit" else None
        return dict(measure.compared(before, after, seen(merged.eval()), beta, start))

    found: dict[str, Any] = {"measured": against(folder, base), "stops": checks.stops(folder)}
    if other:
        name = "16bit" if base == "dequantised" else "dequantised"
        found["other_base"] = {"merged_into": name, **against(other, name)}
    found["accepted_loss"] = _judged(found["measured"], accept_loss)
    return found


def _judged(measured: dict[str, Any], accept_loss: bool) -> bool:
    """Whether less is left than asked for, and that was accepted."""
    from kalign.export.faults import Fault

    kept = [value for key in ("retention", "margin_retention") if (value := measured[key]) is not None]
    spelled = f"retention {measured['retention']:.3f}, of the margins {measured['margin_retention'] or 0:.3f}"
    if max(kept) > 1 / SMALLEST and not min(kept) < SMALLEST:
        raise Fault(
            "effect-overshoots", f"the export does more than was learned ({spelled}); it is no merge of it"
        )
    if min(kept) >= SMALLEST:
        return False
    if not accept_loss:
        raise Fault(
            "effect-lost",
            f"{spelled}, less than {SMALLEST}: rounding took what was learned; use "
            f"dtype=float16, dtype=float32, "
            "format=adapter, or accept_loss=true, which the card will say",
        )
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
