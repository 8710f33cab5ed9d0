"""Commands that measure a model: evaluate it, compare two evaluations, make a page of it."""

import argparse
import difflib
from collections.abc import Mapping

from kalign.commands import align, benchmarks, cultural, judges
from kalign.commands.command import Command, console, loading_libraries, print_json
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

ABOUT = """
Every suite:
  model=MODEL  a run, an adapter, a model's folder, OWNER/NAME, or endpoint:PROVIDER (endpoint:vllm:NAME)
  base=true  asks it without its adapter too, and pairs the answers; base=MODEL pairs it with another
  family=NAME  the file of conf/model/ that knows the model's template
  batch=N  how many prompts are asked at once (16)
  out=DIR  the folder (evals/...)

Prompts whose answers are judged:
  suite=SUITE  a pack (ko), ko_all, korset, a suite.yaml, or a file of prompts
  SET=FILE  the file of one of a suite's sets
  judge=A,B,...  rules (the default), panels of conf/judge/, providers of conf/provider/: most decide
  calibration=FOLDER  corrects the safe rate by what kalign eval judges found there
  as_of=DAY  the day on which laws and offices must exist (today)
  max_new_tokens=N  the longest answer (512)

Benchmarks of Korean, scored by lm-evaluation-harness, for which an endpoint does not do:
  suite=click, kmmlu, hrm8k, haerae or kobest; base=true or false
  data=FOLDER  a local copy (the Hub); tasks=NAME,...  some of its tasks (all)
  num_fewshot=N (0) and chat_template=true (false) are the harness' own
"""
COMPARED = """
kalign eval compare pairs finished evaluations, each with the first.
"""
BENCHMARKS = (*ABILITIES, *benchmarks.SETTINGS, *cultural.SUITES, "align")


def evaluate(words: list[str], flags: argparse.Namespace) -> int:
    """Ask a model the prompts of a suite, judge its answers, and say how often it is safe and helpful."""
    if words[:1] == ["compare"]:
        return compare(words[1:], flags)
    if words[:1] == ["judges"]:
        return judges.calibrate(words[1:], flags)
    from kalign.config import words as plain

    suites = [word.partition("=")[2] for word in words if word.startswith("suite=")]
    if len(suites) > 1:
        raise ConfigError(f"suite is given twice, as {suites[0]} and as {suites[1]}; give it once")
    if benchmarks.SETTINGS.keys() & set(suites):
        return benchmarks.evaluate(words, flags)
    if set(cultural.SUITES) & set(suites):
        return cultural.evaluate(words, flags)
    if "suite=align" in words:
        return align.measure(words, flags)
    if set(ABILITIES) & set(suites):
        return _ability(plain.read(words, settings=ABILITY), flags)
    own = [word for word in words if word.partition("=")[0] in SETTINGS]
    given = plain.read(own, settings=SETTINGS)
    paths = _paths([word for word in words if word not in own])
    _require_no_benchmark(str(given["suite"]))
    plain.require_model(given)
    from pathlib import Path

    with loading_libraries():
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


def _require_no_benchmark(suite: str) -> None:
    """Refuse the misspelt name of a benchmark, which would be taken for a suite of prompts.

    Raises:
        ConfigError: it is one.
    """
    from pathlib import Path

    from kalign.evaluation.suite import names

    known = names()
    if suite not in known and not Path(suite).expanduser().exists():
        near = difflib.get_close_matches(suite, [*BENCHMARKS, *known], n=1)
        if near and near[0] in BENCHMARKS:
            raise ConfigError(f"suite={suite} is unknown; did you mean {near[0]}?")


def _ability(given: dict[str, str | None], flags: argparse.Namespace) -> int:
    """Score the tasks of a benchmark, with the adapter and without it."""
    from kalign.config import words as plain

    plain.require_model(given)
    base, chat = (plain.claim(key, given[key]) for key in ("base", "chat_template"))
    with loading_libraries():
        from kalign.evaluation import ability, scoreboard

    wanted = ability.Wanted(
        suite=str(given["suite"]),
        model=str(given["model"]),
        base=base,
        family=given["family"],
        out=given["out"],
        data=given["data"],
        tasks=tuple(plain.listed(given["tasks"])),
        num_fewshot=plain.count("num_fewshot", str(given["num_fewshot"]), least=0),
        chat_template=chat,
        batch=plain.count("batch", str(given["batch"])),
    )
    folder = ability.evaluate(wanted, console(flags))
    if flags.json:
        print((folder / scoreboard.FILE).read_text(encoding="utf-8"), end="")
    return 0


def compare(words: list[str], flags: argparse.Namespace) -> int:
    """Compare two evaluations, or several with the first: what changed, with what certainty, in words."""
    from kalign.config import words as plain

    names, given = plain.named(words, settings={"out": None})
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
        words="model=MODEL [suite=ko] [base=true|MODEL] [KEY=VALUE ...]\n"
        "       kalign eval compare A B [...] [out=DIR]\n"
        "       kalign eval judges labels=FILE [judge=PANEL] [KEY=VALUE ...]\n      ",
        about_words=(
            ABOUT + benchmarks.ABOUT + cultural.ABOUT + align.ABOUT + judges.ABOUT + COMPARED
        ).strip(),
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
