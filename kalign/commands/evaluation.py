"""Commands that measure a model: evaluate it, compare two evaluations, make a page of it."""

import argparse
import difflib
from collections.abc import Mapping

from kalign.commands import benchmarks, cultural, judges
from kalign.commands.command import Command, console, print_json, quiet_libraries
from kalign.errors import ConfigError

SETTINGS = {
    "suite": "ko",
    "model": None,
    "base": "false",
    "family": None,
    "judge": "rules",
    "calibration": None,
    "as_of": None,
    "batch": "16",
    "max_new_tokens": "512",
    "out": None,
}

ABILITIES = ("click", "kmmlu", "hrm8k", "haerae", "kobest")  # suites that lm-evaluation-harness scores
ABILITY: dict[str, str | None] = {
    "suite": None,
    "model": None,
    "base": "false",
    "family": None,
    "data": None,
    "tasks": None,
    "num_fewshot": "0",
    "chat_template": "false",
    "batch": "16",
    "out": None,
}


def evaluate(words: list[str], flags: argparse.Namespace) -> int:
    """Ask a model the prompts of a suite, judge its answers, and say how often it is safe and helpful."""
    if words[:1] == ["compare"]:
        return compare(words[1:], flags)
    if words[:1] == ["judges"]:
        return judges.calibrate(words[1:], flags)
    from kalign.config import words as plain

    suites = [word.partition("=")[2] for word in words if word.startswith("suite=")]
    if benchmarks.SETTINGS.keys() & set(suites):
        return benchmarks.evaluate(words, flags)
    if set(cultural.SUITES) & set(suites):
        return cultural.evaluate(words, flags)
    if "suite=align" in words:
        from kalign.commands import align

        return align.measure(words, flags)
    if set(ABILITIES) & set(suites):
        return _ability(plain.read(words, settings=ABILITY), flags)
    own = [word for word in words if word.partition("=")[0] in SETTINGS]
    given = plain.read(own, settings=SETTINGS)
    paths = _paths([word for word in words if word not in own])
    if not given["model"]:
        raise ConfigError("model is missing; give model=RUN, a folder, or OWNER/NAME of the Hub")
    quiet_libraries()
    from pathlib import Path

    from kalign.evaluation import evaluate as evaluating

    wanted = evaluating.Wanted(
        suite=str(given["suite"]),
        model=str(given["model"]),
        base=given["base"],
        family=given["family"],
        out=given["out"],
        judges=tuple(str(given["judge"]).split(",")),
        calibration=Path(given["calibration"]) if given["calibration"] else None,
        as_of=plain.day("as_of", given["as_of"]),
        batch=plain.count("batch", str(given["batch"])),
        max_new_tokens=plain.count("max_new_tokens", str(given["max_new_tokens"])),
        paths=paths,
    )
    folder = evaluating.evaluate(wanted, console(flags))
    if flags.json:
        print((folder / "eval.json").read_text(encoding="utf-8"), end="")
    return 0


def _ability(given: dict[str, str | None], flags: argparse.Namespace) -> int:
    """Score the tasks of a benchmark, with the adapter and without it."""
    from kalign.config import words as plain

    if not given["model"]:
        raise ConfigError("model is missing; give model=RUN, a folder, or OWNER/NAME of the Hub")
    if wrong := [key for key in ("base", "chat_template") if given[key] not in ("true", "false")]:
        raise ConfigError(f"{wrong[0]}={given[wrong[0]]} must be true or false for a benchmark")
    quiet_libraries()
    from kalign.evaluation import ability, scoreboard

    wanted = ability.Wanted(
        suite=str(given["suite"]),
        model=str(given["model"]),
        base=given["base"] == "true",
        family=given["family"],
        out=given["out"],
        data=given["data"],
        tasks=tuple(str(given["tasks"]).split(",")) if given["tasks"] else (),
        num_fewshot=plain.count("num_fewshot", str(given["num_fewshot"]), least=0),
        chat_template=given["chat_template"] == "true",
        batch=plain.count("batch", str(given["batch"])),
    )
    folder = ability.evaluate(wanted, console(flags))
    if flags.json:
        print((folder / scoreboard.FILE).read_text(encoding="utf-8"), end="")
    return 0


def compare(words: list[str], flags: argparse.Namespace) -> int:
    """Compare two evaluations, or several with the first: what changed, with what certainty, in words."""
    from kalign.config import words as plain

    names = [word for word in words if "=" not in word]
    given = plain.read([word for word in words if "=" in word], settings={"out": None})
    if len(names) < 2:
        raise ConfigError("kalign eval compare takes two folders of evaluations or more; give A B")
    from pathlib import Path

    from kalign.evaluation import comparing

    out = Path(str(given["out"])).expanduser() if given["out"] else None
    document = comparing.compare_folders([Path(name).expanduser() for name in names], console(flags), out)
    if flags.json:
        print_json(document)
    return 0


def report(words: list[str], flags: argparse.Namespace) -> int:
    """Make one HTML page, which needs nothing else, of a run, an evaluation, a comparison or an export."""
    from pathlib import Path

    if not words:
        raise ConfigError("DIR is missing; give a run, an evaluation, a comparison or an export")
    from kalign.associations import measure_report
    from kalign.evaluation import report as reporting

    systems = {measure_report.SYSTEM: measure_report.sections}
    path = reporting.write([Path(word).expanduser() for word in words], systems)
    if flags.json:
        print_json({"report": str(path)})
    else:
        print(path)
    return 0


def _paths(words: list[str]) -> dict[str, str]:
    """The words that are left name the files of a suite's sets."""
    paths = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"{word!r} is one word too many; write model={word}, or compare A B")
        if near := difflib.get_close_matches(key, SETTINGS, n=1, cutoff=0.75):
            raise ConfigError(f"{key} is no setting here; did you mean {near[0]}?")
        paths[key] = value
    return paths


COMMANDS: Mapping[str, Command] = {
    "eval": Command(
        run=evaluate,
        summary="measure how safe and how helpful a model is",
        example="kalign eval suite=ko model=runs/tiny-1a2b3c4d base=true",
        words="model=MODEL [suite=ko] [base=true|MODEL] [KEY=VALUE ...] | compare A B [...] [out=DIR] "
        "| judges labels=FILE [judge=PANEL]",
        about_words="MODEL is a run, an adapter, a model's folder, OWNER/NAME, or endpoint:PROVIDER (such as "
        "endpoint:vllm:NAME); base=true asks it without its adapter too, and pairs the answers. suite "
        "is a pack, a suite.yaml, a file of prompts, align, or one of ko_all and korset; SET=FILE gives the "
        "file of one of its sets. family is the file of conf/model/ that knows the model's template, "
        "judge a comma-separated panel (rules; panels of conf/judge/ and providers of conf/provider/ "
        "judge by rubric, and a strict majority decides), as_of the day on which laws and offices must "
        "exist (today), batch how many prompts are asked at once (16), max_new_tokens the longest "
        "answer (512), out the folder (evals/...). suite=click, kmmlu, hrm8k, haerae and kobest are "
        "scored by lm-evaluation-harness: data is a local copy, tasks some of its tasks, num_fewshot "
        "(0) and chat_template (false) are the harness' own. "
        + benchmarks.ABOUT
        + cultural.ABOUT
        + judges.ABOUT
        + "suite=align measures word associations: "
        "data.path=FILE are the norms (an ALIGN run knows its own; else recipe=NAME says how they are "
        "asked), arms.shuffled=RUN, arms.other=RUN the controls, other=FILE other_culture=NAME another "
        "culture's norms, "
        "survey=FILE source=COUNTRY target=COUNTRY a survey, lexicon=FILE "
        "scales=NAME=COLUMN:LOW:HIGH:TO_LOW:TO_HIGH,... values of words, shot=CUE an arm more: the base "
        "shown one example; compat=true measures "
        "with the published code's defects. compare pairs finished evaluations, each "
        "with the first.",
    ),
    "report": Command(
        run=report,
        summary="make one HTML page of a run, an evaluation or a comparison",
        example="kalign report runs/tiny-1a2b3c4d evals/ko-tiny-1a2b3c4d-5e6f7a8b",
        words="DIR [DIR ...]",
        about_words="The page is written into the first DIR as report.html; further ones are shown on it "
        "too: the evaluation of a run, or its export with the certificate.",
    ),
}
