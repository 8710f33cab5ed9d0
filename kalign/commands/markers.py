"""Commands on tags of culture: audit them, see where the culture goes, compare arms of trainings."""

import argparse
from collections.abc import Mapping

from kalign.commands.command import Command, console, print_json


def funnel(words: list[str], flags: argparse.Namespace) -> int:
    """Say how much culture each stage of training holds, which, and where; tag what is not tagged yet."""
    from pathlib import Path

    from kalign.config import words as plain

    given = plain.read(
        words, settings={"stages": None, "tagger": "rules", "audit": None, "tags": None, "out": "funnel"}
    )
    from kalign import files
    from kalign.errors import ConfigError
    from kalign.markers import error_rates, report, taggers
    from kalign.markers import funnel as counting

    if not given["stages"]:
        raise ConfigError("stages is missing; give stages=FILE.yaml, which names the data sets of each stage")
    if bool(given["audit"]) != bool(given["tags"]):
        raise ConfigError(
            "audit=SHEET.csv,... and tags=DIR, the tags that its texts were drawn of, belong together; give "
            "both"
        )
    datasets = counting.read(Path(given["stages"]))
    errors = None
    if given["audit"] and given["tags"]:
        sheets = [Path(each) for each in given["audit"].split(",")]
        errors = error_rates.read(sheets, Path(given["tags"]))
    tagger = taggers.named(str(given["tagger"]))
    out = Path(str(given["out"]))
    with taggers.ready(tagger, out):
        tallies = counting.tagged(datasets, tagger, out)
    told = counting.document(tallies, errors)
    files.write_json(out / "funnel.json", told)
    with files.atomic(out / "funnel.html") as partial:
        page = report.page(told, tagger=f"{tagger.name} {tagger.version}, unless a data set brings its own")
        partial.write_text(page, encoding="utf-8")
    report.say(console(flags), told)
    console(flags).print(f"Page: {out / 'funnel.html'} · numbers: {out / 'funnel.json'}", soft_wrap=True)
    if flags.json:
        print_json(told)
    return 0


def audit_draw(words: list[str], flags: argparse.Namespace) -> int:
    """Draw texts whose tags people fill in, as many of each class of culture as of another."""
    from pathlib import Path

    from kalign.config import words as plain
    from kalign.errors import ConfigError

    settings = {"tags": None, "size": "100", "seed": "0", "out": "audit.csv"}
    given = plain.read(words, settings=settings)
    from kalign.markers import audit

    if not given["tags"]:
        raise ConfigError("tags is missing; give tags=DIR, a folder that kalign tag wrote")
    out = Path(str(given["out"]))
    if out.exists():
        raise ConfigError(f"{out} exists, perhaps with somebody's ratings in it; give another out=")
    size, seed = plain.count("size", str(given["size"])), plain.count("seed", str(given["seed"]), least=0)
    count = audit.draw(Path(given["tags"]), out, size=size, seed=seed)
    console(flags).print(
        f"{out}: {count} texts. Each rater fills in a copy: culture, domain, task, geo by the names of the "
        "schema, several with |, none for nothing, blank for no rating",
        soft_wrap=True,
    )
    if flags.json:
        print_json({"sheet": str(out), "texts": count})
    return 0


def audit_agreement(words: list[str], flags: argparse.Namespace) -> int:
    """Say how far the raters of several sheets agree, with each other and with the tagger."""
    from pathlib import Path

    from kalign.config import words as plain
    from kalign.errors import ConfigError

    names, given = plain.named(words, settings={"tags": None})
    sheets = [Path(name) for name in names]
    from rich.table import Table

    from kalign.markers import audit
    from kalign.statistics import spelled

    if len(sheets) < 2 and not (sheets and given["tags"]):
        raise ConfigError(
            "agreement needs two sheets or more, or one and tags=DIR; name the filled-in copies"
        )
    told = audit.agreement(sheets, Path(given["tags"]) if given["tags"] else None)
    table = Table(title=f"{told['texts']} texts, {told['raters']} raters", title_justify="left")
    for column in ("dimension", "Krippendorff's alpha", "raw agreement", "tagger says the same"):
        table.add_column(column, justify="left" if column == "dimension" else "right")
    for name, alpha in told["alpha"].items():
        share = told.get("tagger", {}).get(name)
        table.add_row(name, _optional(alpha), _optional(told["raw"][name]), spelled(share, digits=3))
    for name, alpha in told["by_class"].items():
        table.add_row(f"culture: {name}", _optional(alpha), "", "")
    for lang, each in told["by_language"].items():
        table.add_row(f"culture in {lang} ({each['texts']})", _optional(each["alpha"]), "", "")
    console(flags).print(table)
    if told.get("tagger"):
        console(flags).print(
            "tagger says the same: of the ratings on these sheets, which hold as many texts of a class as of "
            "another; how often it is right in a corpus is said by kalign funnel audit=SHEET",
            style="dim",
            soft_wrap=True,
        )
    if flags.json:
        print_json(told)
    return 0


def _optional(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def arms(words: list[str], flags: argparse.Namespace) -> int:
    """Put the arms of a study with markers side by side: steps, tokens with and without markers."""
    from pathlib import Path

    from kalign.config import words as plain

    names, given = plain.named(words, settings={"runs_dir": "runs"})
    from kalign.markers import arms as compared

    folder = Path(str(given["runs_dir"])).expanduser()
    paths = [Path(name) if Path(name).is_dir() else folder / name for name in names] or compared.found(folder)
    read = compared.read(paths)
    compared.say(console(flags), read)
    if flags.json:
        print_json({"arms": read, "differences": compared.different(read)})
    return 0


COMMANDS: Mapping[str, Command] = {
    "funnel": Command(
        run=funnel,
        summary="see where the culture goes: shares, countries, domains by stage",
        example="kalign funnel stages=stages.yaml out=funnel",
        words="stages=FILE.yaml [tagger=rules] [audit=SHEET.csv,... tags=DIR] [out=funnel]",
        about_words="FILE names data sets: stages: {pretrain: {web: {path: FILE, columns: {text: text}}}, "
        "alignment: {mine: {path: pack:ko, map: triplets}}}; others are compared with the first stage. "
        "A data set may bring its own tags (columns: {culture: COLUMN}, tags: FILE), be one that there is a "
        "map of (map: culture_markers), or be read in part (share: 0.1). audit and tags name filled-in "
        "sheets of kalign audit draw and the tags they were drawn of: shares are shown without the tagger's "
        "errors too.",
    ),
    "arms": Command(
        run=arms,
        summary="compare runs that were trained with tags: steps, tokens, results",
        example="kalign arms runs_dir=runs",
        words="[RUN ...] [runs_dir=runs]",
        about_words="RUN is a folder or its name in runs_dir; without any, all finished ones with data.tags.",
    ),
    "audit draw": Command(
        run=audit_draw,
        summary="draw texts for people to tag",
        example="kalign audit draw tags=tags size=200 out=audit.csv",
        words="tags=DIR [size=100] [seed=0] [out=audit.csv]",
        about_words="DIR is a folder that kalign tag wrote. Give each rater a copy of the sheet.",
    ),
    "audit agreement": Command(
        run=audit_agreement,
        summary="say how far raters agree, with each other and with the tagger",
        example="kalign audit agreement one.csv other.csv tags=tags",
        words="SHEET.csv ... [tags=DIR]",
        about_words="SHEETs are filled-in copies of one that kalign audit draw wrote.",
    ),
}
