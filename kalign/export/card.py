"""The model card of an export: what it was trained on, how, with what result, and what proves it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kalign import statistics
from kalign.export import lines
from kalign.export.origin import Origin

ESTIMATES = {
    "reward_accuracy": "reward accuracy",
    "reward_margin": "reward margin",
    "prefers_chosen": "prefers the chosen answer",
    "chosen_logp": "log-prob of chosen (nats)",
    "rejected_logp": "log-prob of rejected (nats)",
}
WHEN = ("before", "after")
METHODS = {
    "dpo": "DPO ({loss_type}, beta {beta})",
    "sft": "Supervised fine-tuning",
    "rloo": "RLOO on a reward",
    "grpo": "GRPO on a reward",
}
SERVED = {
    "merged": "    transformers serve {name}\n    vllm serve {name}{own}\n",
    "vendor": "    vllm serve {name} --tokenizer {name}/tokenizer\n",
    "adapter": "    vllm serve {base} --enable-lora --lora-modules {short}={name}\n",
    "gguf": "    llama-server --model {name}/{name}.gguf --jinja\n",
}


def text(made: Origin, certificate: Mapping[str, Any], name: str) -> str:
    """The card as Markdown."""
    parts = [
        _front(made, certificate),
        f"# {name}\n",
        _training(made),
        _results(made),
        _proof(certificate),
        _use(made, certificate, name),
    ]
    return "\n".join(parts)


def _front(made: Origin, certificate: Mapping[str, Any]) -> str:
    library = "peft" if certificate["format"] == "adapter" else "transformers"
    named = (_licence(made).get("name") or "").lower()
    licence = f"license: {named}" if named == "apache-2.0" else "license: other"
    return (
        f"---\nbase_model: {made.name}\n{licence}\nlibrary_name: {library}\npipeline_tag: text-generation\n"
        f"tags: [{made.method}, kalign]\n---\n"
    )


def _training(made: Origin) -> str:
    recipe, ledger = made.manifest["recipe"], made.manifest["ledger"]
    adapter, trainer, quantised = recipe["adapter"], recipe["trainer"], made.quantization.load_in_4bit
    method = f"QLoRA on {made.quantization.bnb_4bit_quant_type}" if quantised else "LoRA"
    kinds = "".join(
        f", {spelled}"
        for key, spelled in (("use_rslora", "rank-stabilised"), ("use_dora", "DoRA"))
        if adapter[key]
    )
    sources = [
        (
            f"{key}: {Path(noted['path']).name}",
            f"{noted['rows']:,}" if "rows" in noted else "-",
            f"`{noted['sha256']}`",
        )
        for key, noted in made.manifest["inputs"]["data"].items()
    ]
    rows = list(ledger.items())  # of norms, what was counted
    if "train" in ledger:
        rows = [("read", ledger["rows"]), ("trained on", ledger["train"]), ("held out", ledger["eval"])]
        rows += [(f"dropped: {why.replace('_', ' ')}", count) for why, count in ledger["dropped"].items()]
    taken = "pairs" if made.method == "dpo" else "examples"
    learned = METHODS[made.method].format(**recipe["loss"])
    return "\n".join(
        [
            "## Training\n",
            f"{learned} of {made.name} with "
            f"{method} (r {adapter['r']}, alpha {adapter['lora_alpha']}, dropout "
            f"{adapter['lora_dropout']}{kinds}): {made.result['steps']} steps of "
            f"{trainer['pairs_per_step']} {taken}, learning rate {trainer['learning_rate']}, "
            f"seed {trainer['seed']}.\n",
            _table(("data", "rows", "sha256"), sources),
            _table(("rows", "count"), [(name, f"{count:,}") for name, count in rows]),
            *([f"{made.result['data_notice']}\n"] if "data_notice" in made.result else []),
            "### Licence\n",
            _licence_text(_licence(made)),
        ]
    )


def _licence(made: Origin) -> Mapping[str, Any]:
    return made.manifest["recipe"]["model"].get("licence") or {}


def _licence_text(licence: Mapping[str, Any]) -> str:
    if not licence.get("name"):
        return "Licence of the base: not stated by the run; read it before you pass this model on.\n"
    said = f"Licence of the base: {licence['name']}"
    if licence.get("url"):
        said += f" ({licence['url']})"
    if licence.get("name_prefix"):
        said += f"; names of derivatives must begin with {licence['name_prefix']!r}"
    if licence.get("notice"):
        said += f"; {licence['notice']}"
    if licence.get("may_train_others") is False:
        said += "; its answers must not train other models"
    return said + ".\n"


def _results(made: Origin) -> str:
    held, behaviour = made.result["held_out"], made.result.get("behaviour")
    parts = ["## Results, with 95 % intervals\n"]
    if held and made.method != "dpo":
        whens = ("before", "after", "change")
        changes = [
            (name.replace("_", " "), *(statistics.spelled(row[when], digits=3) for when in whens))
            for name, row in held.items()
            if name != "examples"
        ]
        parts += [f"Held-out examples: {held['examples']}.\n", _table(("", *whens), changes)]
    elif held:
        rows = [
            (name, *(statistics.spelled(held[key][when], digits=3) for when in WHEN))
            for key, name in ESTIMATES.items()
        ]
        parts += [f"Held-out pairs: {held['pairs']}.\n", _table(("", "before", "after"), rows)]
    else:
        parts.append("No pairs were held out, so nothing of what was learned was measured.\n")
    if behaviour:
        compared = [
            (
                f"{group}: {key.replace('_', ' ')}",
                *(statistics.spelled(change[when], digits=3) for when in WHEN),
                f"{change['p_value']:.2g}",
            )
            for group in ("harmful", "benign")
            for key, change in behaviour[group].items()
            if change
        ]
        parts += ["On held-out prompts, judged by rules:\n", _table(("", "before", "after", "p"), compared)]
    return "\n".join(parts)


def _proof(certificate: Mapping[str, Any]) -> str:
    parts = [
        "## Certificate\n",
        "Computed from these files by a process that had no part in writing them, in float32.\n",
        _table(("line", "what was found"), lines.of(certificate)),
    ]
    if certificate.get("accepted_loss"):
        parts.append(
            "**Part of what was learned is lost in this merge, and whoever exported it accepted that.**\n"
        )
    parts.append(
        "All of it: `certificate.json`. Check the files with `sha256sum -c SHA256SUMS` or "
        "`kalign export --verify FOLDER`.\n"
    )
    return "\n".join(parts)


def _use(made: Origin, certificate: Mapping[str, Any], name: str) -> str:
    found = certificate["tokens"]["auto_tokenizer"]
    own = f" --tokenizer {name}/tokenizer" if "tokenizer" in found else ""
    served = SERVED[certificate["format"]].format(
        name=name, own=own, base=made.name, short=name.casefold().replace(" ", "-")
    )
    parts = [
        "## Use and limits\n",
        "Meant for conversation in the language and on the subjects of its training pairs. What was not "
        "measured above is not known: it can be wrong, and it gives no legal or medical advice.\n",
        served,
    ]
    if certificate["format"] == "merged" and own:
        parts.append(
            f"transformers' AutoTokenizer on this folder {found['.']}, for it forces the splitting of "
            "another model of the same type. Whatever serves this model must take the tokenizer from the "
            "folder `tokenizer`; `transformers serve` cannot.\n"
        )
    if certificate["format"] == "vendor":
        parts.append("These are the vendor's own names; transformers alone does not know them.\n")
    return "\n".join(parts)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in lines)
