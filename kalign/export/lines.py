"""A certificate in words: what is shown on a terminal, and stands on the card."""

from collections.abc import Mapping
from typing import Any

Line = tuple[str, str]


def of(certificate: Mapping[str, Any]) -> list[Line]:
    """What was checked, and what came of it."""
    found = [*_tensors(certificate), *_tokens(certificate), *_measured(certificate)]
    if "gguf" in certificate:
        found.append(("GGUF", _gguf(certificate["gguf"])))
    return found


def _tensors(certificate: Mapping[str, Any]) -> list[Line]:
    base = certificate["base"]
    found = [("base", f"{base['repo']}, {str(base.get('weights_sha256') or base.get('commit'))[:12]}")]
    if "tensors" not in certificate:
        return [*found, ("adapter", f"as trained, sha256 {certificate['adapter_sha256'][:12]}")]
    count = certificate["tensors"]
    kept = count["all"] - count["trained"] - count["dequantised"]
    spelled = f"{count['all']}: {count['trained']} merged, {kept} the base's byte for byte"
    if count["dequantised"]:
        spelled += f", {count['dequantised']} as 4 bits left them"
    into = "weights that 4 bits left" if base["merged_into"] == "dequantised" else "16-bit weights"
    return [*found, ("tensors", spelled), ("merged into", f"{into}, stored {certificate['dtype']}")]


def _tokens(certificate: Mapping[str, Any]) -> list[Line]:
    tokens = certificate["tokens"]
    found = [
        ("tokenizer, template", "those of the training"),
        *(
            (f"AutoTokenizer on {'the folder' if place == '.' else place + '/'}", said)
            for place, said in tokens["auto_tokenizer"].items()
        ),
    ]
    if "stops" in certificate:
        found.append(("stops", f"{certificate['stops']}, with {tokens['turn_end']}, which ends answers"))
    return found


def _measured(certificate: Mapping[str, Any]) -> list[Line]:
    if "measured" not in certificate:
        return []
    seen = certificate["measured"]
    lost = " (loss accepted)" if certificate["accepted_loss"] else ""
    found = [
        ("pairs", f"{seen['pairs']} from {seen['pairs_from']}, {seen['positions']} tokens of answers"),
        ("retention", number(seen["retention"]) + lost),
        ("margins kept", number(seen["margin_retention"]) + lost),
        ("effect cosine", number(seen["effect_cosine"])),
        ("KL(adapter, merged)", f"{seen['kl_adapter_merged']:.1e} nats a token"),
        ("top-1 agreement", number(seen["top1_agreement"])),
        ("greedy answers equal", f"{seen['greedy_equal']} of {seen['greedy_prompts']}"),
        ("base to merged", f"logits move by up to {number(seen['largest_difference_from_base'])}"),
    ]
    if seen["base_shift"] is not None:
        found.append(("16-bit to 4-bit base", f"{number(seen['base_shift'])} of the adapter's effect"))
    if other := certificate.get("other_base"):
        found.append(
            (
                f"merged into {other['merged_into']} instead",
                f"retention {number(other['retention'])}, of margins {number(other['margin_retention'])}, "
                f"cosine {number(other['effect_cosine'])}",
            )
        )
    return found


def _gguf(seen: Mapping[str, Any]) -> str:
    return f"{seen['tensors']} tensors, largest difference from the merge {seen['largest_difference']:.1e}"


def number(value: float | None) -> str:
    """Four digits, or that there is nothing to measure."""
    return "not measurable" if value is None else f"{value:.4f}"
