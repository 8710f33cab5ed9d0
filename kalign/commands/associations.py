"""Commands on word associations: look at norms, make pairs of them, run the whole study."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from kalign.commands.command import Command, console, loading_libraries, print_json
from kalign.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from kalign.config import Recipe

STUDY = {
    "recipe": "tiny_align",
    "rank": "tiny_align_rank",
    "other": "bundled:shore",
    "other_culture": "shore",
    "other_where": None,
    "survey": "bundled:survey",
    "source": "shore",
    "target": "hill",
    "lexicon": "bundled:feelings",
    "lexicon_word": "word",
    "scales": None,
    "seeds": "1,2,3",
    "chain": "true",
    "compat": "false",
    "out": "study-align",
}


def norms_check(words: list[str], flags: argparse.Namespace) -> int:
    """Read a file of norms as a training would, and say what is in it; exit 3 when it is malformed."""
    path, recipe = _path(words)
    from kalign.associations import norms, tasks

    read = norms.read(path, recipe.associations)
    parts = tasks.split(read.counts, recipe.associations.split, seed=recipe.data.seed)
    some = {cue: list(counts)[:10] for cue, counts in list(read.counts.items())[:3]}
    document = {
        "path": path,
        "sha256": read.sha256,
        "layout": read.layout,
        "licence": read.licence,
        "facts": dict(read.facts),
        "split": {name: len(cues) for name, cues in parts.items()},
        "example": some,
    }
    if flags.json:
        print_json(document)
        return 0
    shown = console(flags)
    shown.print(f"{path}: {read.layout}. {read.licence}", soft_wrap=True)
    for name, count in (*read.facts.items(), *((f"cues: {name}", len(cues)) for name, cues in parts.items())):
        shown.print(f"{count:>12,}  {name}")
    for cue, named in some.items():
        shown.print(f"{cue}: {', '.join(named)}", style="dim", soft_wrap=True)
    return 0


def norms_pairs(words: list[str], flags: argparse.Namespace) -> int:
    """Write preference pairs of norms for DPO: right rankings against others, and the own culture against
    another one."""
    from pathlib import Path

    from kalign.config import words as plain

    own, words = plain.taken(words, other=str, other_culture=str, out=str)
    path, recipe = _path(words)
    from kalign import files
    from kalign.associations import norms, pairs, prompts, tasks

    settings, seed = recipe.associations, recipe.data.seed
    read = norms.read(path, settings)
    texts = prompts.load(settings.prompts)
    cues = tasks.split(read.counts, settings.split, seed=seed)["train"]
    rows = list(pairs.ranked(read, cues, texts, settings, seed=seed))
    if "other" in own:
        other = norms.of_another(own["other"], settings, culture=own.get("other_culture", "other"))
        rows += pairs.between(read, other, cues, texts, settings, seed=seed)
    out = Path(own.get("out", "association_pairs.jsonl"))
    files.write_jsonl(out, rows)
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["rejected_kind"]] = counts.get(row["rejected_kind"], 0) + 1
    if flags.json:
        print_json({"out": str(out), "pairs": counts, "licence": read.licence})
    else:
        shown = console(flags)
        for kind, count in counts.items():
            shown.print(f"{count:>12,}  {kind}")
        shown.print(f"{read.licence} Pairs: {out}", soft_wrap=True)
        shown.print(f"Next: kalign train recipe=NAME data.path={out}", soft_wrap=True)
    return 0


def _path(words: list[str]) -> "tuple[str, Recipe]":
    """The file that a command is about, and the recipe whose settings say how it is read."""
    from kalign.config import compose

    named = [word for word in words if "=" not in word]
    if len(named) != 1:
        raise ConfigError("give one FILE of norms, such as bundled:hill, and settings as KEY=VALUE")
    settings = [word for word in words if "=" in word]
    chosen = [] if any(word.startswith("recipe=") for word in settings) else ["recipe=tiny_align"]
    recipe = compose.load([*chosen, *settings])
    return named[0], recipe


def study(words: list[str], flags: argparse.Namespace) -> int:
    """Run ALIGN from norms to a report: fine-tune, reward, evaluate, with the controls that a claim needs."""
    from kalign import preemption

    with preemption.listening() as notice:
        from pathlib import Path

        from kalign.config import words as plain

        given, settings = plain.taken(words, **dict.fromkeys(STUDY, str))
        said = {key: None if value in ("null", "none") else value for key, value in (STUDY | given).items()}
        chain, compat = (plain.claim(key, said[key]) for key in ("chain", "compat"))
        try:
            seeds = [int(seed) for seed in str(said["seeds"]).split(",")]
        except ValueError as wrong:
            raise ConfigError(f"seeds={said['seeds']} are no numbers; write seeds=1,2,3") from wrong
        with loading_libraries():
            from kalign.associations import study as studying
            from kalign.associations import study_report
            from kalign.commands import training

        shown = console(flags)
        wanted = studying.Wanted(
            recipe=str(said["recipe"]),
            rank=said["rank"],
            words=settings,
            other=said["other"],
            other_culture=str(said["other_culture"]),
            other_where=plain.listed(said["other_where"]),
            survey=said["survey"],
            source=str(said["source"]),
            target=str(said["target"]),
            lexicon=said["lexicon"],
            lexicon_word=str(said["lexicon_word"]),
            scales=plain.listed(said["scales"]),
            seeds=seeds,
            chain=chain,
            compat=compat,
            out=Path(str(said["out"])),
        )
        document = studying.run(
            wanted, lambda recipe: training.learn(recipe, console_of_runs(flags), notice), shown
        )
    if flags.json:
        print_json(document)
    else:
        study_report.say(document, shown, said["out"])
    return 0


def console_of_runs(flags: argparse.Namespace) -> "Console":
    """Where the trainings of a study write: nowhere, since their folders hold everything."""
    quiet = console(flags)
    quiet.quiet = True
    return quiet


COMMANDS: Mapping[str, Command] = {
    "norms check": Command(
        run=norms_check,
        summary="say what a file of word associations holds",
        example='kalign norms check SWOW-EN.R100.20180827.csv "associations.where=[country=Canada]"',
        words="FILE [recipe=tiny_align] [associations.KEY=VALUE ...]",
        about_words="FILE is of SWOW, LWOW or your own (associations.layout=table); bundled:hill and "
        "bundled:shore are two invented cultures.",
    ),
    "norms pairs": Command(
        run=norms_pairs,
        summary="make preference pairs of word associations",
        example="kalign norms pairs bundled:hill other=bundled:shore out=pairs.jsonl",
        words="FILE [other=FILE] [other_culture=NAME] [out=FILE.jsonl] [recipe=tiny_align] [KEY=VALUE ...]",
        about_words="With other, what the own culture names is preferred to what the other one does.",
    ),
    "study align": Command(
        run=study,
        summary="learn a culture from its word associations, with every control",
        example="kalign study align recipe=align_zh rank=align_zh_rank data.path=SWOWZH.R55.20230424.csv "
        "other=SWOW-EN.R100.20180827.csv other_culture=us survey=null lexicon=null out=study-zh",
        words="[recipe=NAME] [rank=NAME] [other=FILE] [survey=FILE source=COUNTRY target=COUNTRY] "
        "[lexicon=FILE scales=...] [seeds=1,2,3] [chain=true] [out=DIR] [KEY=VALUE ...]",
        about_words="Without words, it runs on the two bundled cultures. KEY=VALUE are settings of all its "
        "recipes. other=, rank=, survey= and lexicon=null leave that part out; chain=false the arm that is "
        "rewarded after SFT; scales are NAME=COLUMN:LOW:HIGH:TO_LOW:TO_HIGH with commas between; "
        "compat=true measures surveys with the published code's defects.",
    ),
}
