"""Finished evaluations side by side: refused unless they can be compared, then paired and put into words."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from kalign import files, runs
from kalign.errors import IntegrityError
from kalign.evaluation import compare, results, summary, tables
from kalign.evaluation.scores import Score

FILE = "compare.json"
SAME = {  # what two evaluations must share: under which key, and what it is called
    "judges": "judged by",
    "as_of": "judged as of",
}


def compare_folders(folders: Sequence[Path], console: Console, out: Path | None) -> dict[str, Any]:
    """What changed from the first evaluation to each other one; printed, and written to `out` if given.

    Raises:
        ConfigError: a folder holds no finished evaluation.
        DataError: too few of the answers of one were judged.
        IntegrityError: they cannot be compared.
    """
    (first, rows), *others = [results.read(folder) for folder in folders]
    for folder, some in zip(folders, [rows, *(other for _, other in others)], strict=True):
        summary.require_coverage(str(folder), _own(some))
    before = _own(rows)
    compared = []
    for folder, (result, after) in zip(folders[1:], others, strict=True):
        require_comparable(first, result, (folders[0], folder))
        pairs = compare.paired(before, _own(after))
        compare.require_different(pairs, (str(folders[0]), str(folder)))
        suite = first["suite"]
        found = compare.models(pairs, primary=suite["primary"], margin=suite["margin"])
        compared.append({"folder": str(folder), "model": result["model"]["name"], **found})
    claims = compare.of_several([compare.claim(one) for one in compared])
    for one, claim in zip(compared, claims, strict=True):
        one["changes"] = [claim if change["claim"] else change for change in one["changes"]]
        one["verdict"] = claim["verdict"]
    document = {
        "first": {"folder": str(folders[0]), "model": first["model"]["name"]},
        "others": compared,
        "verdict": claims[0]["verdict"] if len(claims) == 1 else [claim["verdict"] for claim in claims],
    }
    for one in compared:
        console.print(f"{first['model']['name']} → {one['model']}", style="bold", soft_wrap=True)
        tables.print_comparison(console, one, ("first", "second"))
    if len(compared) > 1:
        console.print(f"p of the {len(compared)} claims: Holm", style="dim")
    if out:
        files.write_json(out / FILE, document)
        console.print(f"Written: {out / FILE}", soft_wrap=True)
    return document


def require_comparable(one: Mapping[str, Any], other: Mapping[str, Any], folders: tuple[Path, Path]) -> None:
    """Refuse what differs in more than the model.

    Raises:
        IntegrityError: prompts, judges, day or decoding differ, or the model does not.
    """
    if runs.canonical(one["model"]["identity"]) == runs.canonical(other["model"]["identity"]):
        raise IntegrityError(
            f"{folders[0]} and {folders[1]} are evaluations of the same weights, so there is nothing to "
            "compare; give the other model's"
        )
    if one["questions"] != other["questions"]:
        raise IntegrityError(
            f"{folders[0]} and {folders[1]} were asked different prompts ({one['suite']['name']} and "
            f"{other['suite']['name']}); evaluate both with one suite"
        )
    if one["suite"]["primary"] != other["suite"]["primary"]:
        raise IntegrityError(f"{folders[0]} and {folders[1]} make claims on different sets; use one suite")
    if one["suite"]["pack"] != other["suite"]["pack"]:
        raise IntegrityError(
            f"{folders[0]} was judged by the rules and laws of pack {one['suite']['pack']}, {folders[1]} by "
            f"those of {other['suite']['pack']}; evaluate both with one suite"
        )
    for key, words in SAME.items():
        if one[key] != other[key]:
            raise IntegrityError(
                f"{folders[0]} was {words} {_said(one[key])}, {folders[1]} {words} {_said(other[key])}; "
                f"evaluate one again with {'judge' if key == 'judges' else key}={_said(one[key])} (its "
                "answers are kept)"
            )
    for key in ("max_new_tokens", "decoding"):
        if one["asked"].get(key) != other["asked"].get(key):
            raise IntegrityError(
                f"{folders[0]} was answered with {key}={one['asked'].get(key)}, {folders[1]} with "
                f"{other['asked'].get(key)}; evaluate one again with {key}={one['asked'].get(key)}"
            )


def _own(rows: Sequence[Score]) -> list[Score]:
    return [row for row in rows if row.model == "model"]


def _said(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)
