"""The model card of an export: what it was trained on, how, with what result, and what proves it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kalign.export.origin import Origin

NAMES = {
    "reward_accuracy": "reward accuracy",
    "reward_margin": "reward margin",
    "prefers_chosen": "prefers the chosen answer",
}


def text(made: Origin, certificate: Mapping[str, Any], name: str) -> str:
    """The card as Markdown."""
    parts = [
        _front(made),
        f"# {name}\n",
        _training(made),
        _results(made),
        _proof(certificate),
        _use(certificate),
    ]
    return "\n".join(part for part in parts if part)


def _front(made: Origin) -> str:
    return f"---\nbase_model: {made.name}\nlibrary_name: transformers\ntags: [dpo, kalign]\n---\n"


def _training(made: Origin) -> str:
    recipe, ledger = made.manifest["recipe"], made.manifest["ledger"]
    sources = [
        f"- {key}: {Path(noted['path']).name}, {noted['rows']} rows, sha256 `{noted['sha256']}`"
        for key, noted in made.manifest["inputs"]["data"].items()
    ]
    adapter, trainer, quantised = recipe["adapter"], recipe["trainer"], made.quantization.load_in_4bit
    return "\n".join(
        [
            "## Training\n",
            f"DPO ({recipe['loss']['loss_type']}, beta {recipe['loss']['beta']}) of {made.name} with "
            f"{'QLoRA on ' + made.quantization.bnb_4bit_quant_type if quantised else 'LoRA'} "
            f"(r {adapter['r']}, alpha {adapter['lora_alpha']}, dropout {adapter['lora_dropout']}): "
            f"{made.result['steps']} steps of {trainer['pairs_per_step']} pairs, learning rate "
            f"{trainer['learning_rate']}, seed {trainer['seed']}.\n",
            *sources,
            f"- {ledger['rows']} rows read, {ledger['train']} trained on, {ledger['eval']} "
            f"held out, dropped: "
            f"{ledger['dropped'] or 'none'}\n",
            _licence(recipe["model"].get("licence")),
        ]
    )


def _licence(licence: Mapping[str, Any] | None) -> str:
    if not licence or not licence.get("name"):
        return "Licence of the base: not stated by the run; read it before you pass this model on.\n"
    said = f"Licence of the base: {licence['name']}"
    if licence.get("url"):
        said += f" ({licence['url']})"
    if licence.get("name_prefix"):
        said += f"; names of derivatives must begin with {licence['name_prefix']!r}"
    if licence.get("notice"):
        said += f"; {licence['notice']}"
    return said + ".\n"


def _results(made: Origin) -> str:
    held, behaviour = made.result["held_out"], made.result["behaviour"]
    lines = ["## Results, with 95 % intervals\n"]
    if held:
        lines += [f"On {held['pairs']} held-out pairs:\n", "| | before | after |", "|---|---|---|"]
        lines += [
            f"| {name} | {_spelled(held[key]['before'])} | {_spelled(held[key]['after'])} |"
            for key, name in NAMES.items()
        ]
    else:
        lines.append("No pairs were held out.")
    if behaviour:
        lines += [
            "",
            "On held-out prompts, judged by rules:\n",
            "| | before | after | p |",
            "|---|---|---|---|",
        ]
        for group in ("harmful", "benign"):
            for key, change in behaviour[group].items():
                if change:
                    cells = f"{_spelled(change['before'])} | {_spelled(change['after'])} | {change['p_value']:.2g}"  # noqa: E501
                    lines.append(f"| {group}: {key.replace('_', ' ')} | {cells} |")
    return "\n".join(lines) + "\n"


def _proof(certificate: Mapping[str, Any]) -> str:
    lines = ["## Certificate\n"]
    measured = certificate.get("measured")
    if measured:
        lines.append(
            f"Computed in a fresh process from these files: retention "
            f"{_number(measured['retention'])}, of held-out "
            f"margins {_number(measured['margin_retention'])}, effect cosine "
            f"{_number(measured['effect_cosine'])}, "
            f"KL(adapter, merged) {measured['kl_adapter_merged']:.2e} nats a token, top-1 agreement "
            f"{measured['top1_agreement']:.3f}, {measured['greedy_equal']} of {measured['greedy_prompts']} greedy "  # noqa: E501
            "answers equal. Every tensor that was not trained is the base's, byte for byte."
        )
        lines.append(f"Merged into: {certificate['base']['merged_into']} weights of the base.")
    if certificate.get("accepted_loss"):
        lines.append(
            "**Part of what was learned is lost in this merge, and that was accepted by who exported it.**"
        )
    lines.append(
        "All of it: `certificate.json`; hashes of all files: `SHA256SUMS` (`sha256sum -c SHA256SUMS`)."
    )
    return "\n\n".join(lines) + "\n"


def _use(certificate: Mapping[str, Any]) -> str:
    tokens = certificate["tokens"]["plain_tokenizer"]
    lines = [
        "## Use and limits\n",
        "Meant for conversation in the language and on the subjects of its training pairs. What was not measured "  # noqa: E501
        "above is not known; it can be wrong, and it gives no legal advice.\n",
        "    transformers serve THIS_FOLDER\n",
    ]
    if tokens != "exact":
        lines.append(f"transformers' AutoTokenizer on this folder: {tokens}.\n")
    return "\n".join(lines)


def _spelled(estimate: Mapping[str, float] | None) -> str:
    return (
        "-"
        if estimate is None
        else f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"
    )


def _number(value: float | None) -> str:
    return "not measurable" if value is None else f"{value:.4f}"
