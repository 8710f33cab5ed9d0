"""The card of a data set: what is in it, how it came about, from whose models, and a warning."""

from collections.abc import Mapping, Sequence

from kalign.judging import Panel
from kalign.synthesis.cast import Cast, name
from kalign.synthesis.settings import Pipeline
from kalign.synthesis.texts import CRITERIA, Texts
from kalign.synthesis.triplets import Selection

Funnel = Sequence[Mapping[str, object]]


def text(
    pipeline: Pipeline,
    panel: Panel,
    cast: Cast,
    texts: Texts,
    selection: Selection,
    funnel: Funnel,
) -> str:
    """The card as Markdown; it is the same for the same data."""
    parts = [
        _front(texts, selection),
        f"# {pipeline.name}: {len(selection):,} preference triplets\n",
        "**Warning.** The column `rejected` holds harmful text on purpose: what a model answered under "
        "attack, so that another one learns to decline it. Do not publish it without a gate, and never "
        "train on it alone.\n",
        _made(pipeline, panel, texts, funnel),
        _models(cast),
        _balance(texts, selection),
        "## Use\n\n```\naccelerate launch train.py recipe=qwen data=synth data.path=triplets.parquet\n```\n",
        "Each row has its provenance: for every text the model, the hash of its instructions, the key of "
        "the answer in the ledger and its cost; every score, vote and decision.\n",
    ]
    return "\n".join(parts)


def _front(texts: Texts, selection: Selection) -> str:
    size = len(selection)
    bound = next((top for top in (1_000, 10_000, 100_000, 1_000_000) if size < top), None)
    category = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K"}.get(bound or 0, "100K<n<1M")
    return (
        f"---\nlanguage: [{texts.pack.language.split('-')[0]}]\nlicense: other\n"
        f"size_categories: [{category}]\ntags: [dpo, safety, kalign, not-for-all-audiences]\n---\n"
    )


def _made(pipeline: Pipeline, panel: Panel, texts: Texts, funnel: Funnel) -> str:
    rows = [f"| {one['stage']} | {one['rows']:,} | {one['kept']:,} |" for one in funnel]
    return "\n".join(
        [
            "## How it was made\n",
            f"Pack {texts.pack.name}, laws and institutions as of {texts.on}. Seeds are templates of the "
            f"pack filled by a model; each was said in other words, up to {pipeline.attack.tries} times, "
            f"until the target answered unsafely; {pipeline.respond.candidates} answers under the policy "
            f"competed; a panel ({panel.rule}) and the pack's verifier of citations decided "
            f"{', '.join(CRITERIA)}.\n",
            "| stage | rows | kept |",
            "|---|--:|--:|",
            *rows,
            "",
        ]
    )


def _models(cast: Cast) -> str:
    licences = {name(one): one.licence.name or "not known" for one in cast.all}
    lines = [f"| {role} | `{model}` | {licences[model]} |" for role, model, _ in cast.roles()]
    kin = (
        f"The families {', '.join(cast.kin)} judge what they wrote themselves.\n"
        if cast.kin
        else "No judge of the panel is of a generator's family.\n"
    )
    return "\n".join(["## Models\n", "| role | model | licence |", "|---|---|---|", *lines, "", kin])


def _balance(texts: Texts, selection: Selection) -> str:
    taxonomy = texts.pack.taxonomy
    have, wanted = selection.by_category(taxonomy), selection.wanted_by_category(taxonomy)
    lines = [
        f"| {taxonomy.stratum(one.id)} | {one.id} {texts.pack.named(one.name)} "
        f"| {wanted[one.id]:,} | {have[one.id]:,} |"
        for one in taxonomy.categories
    ]
    short = sum(selection.short(taxonomy).values())
    said = f"{short:,} rows are missing; nothing was filled with duplicates.\n" if short else ""
    return "\n".join(
        ["## Balance\n", "| domain | category | wanted | there |", "|---|---|--:|--:|", *lines, "", said]
    )
