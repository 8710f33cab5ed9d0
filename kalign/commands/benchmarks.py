"""Benchmarks that kalign asks and scores itself: their words, and the call."""

import argparse
from collections.abc import Mapping

from kalign.commands.command import console, loading_libraries

COMMON: Mapping[str, str | None] = {
    "suite": None,
    "model": None,
    "base": "false",
    "family": None,
    "data": None,
    "batch": "16",
    "out": None,
}
SETTINGS: Mapping[str, Mapping[str, str | None]] = {  # of each suite, beside the common ones
    "kobbq": {"columns": None, "prompts": None, "prompt": "1", "max_new_tokens": "32"},
    "komt": {"columns": None, "judge": None, "exempt": "138,140", "max_new_tokens": "1024"},
    "humaneval": {"sandbox": "strict", "max_new_tokens": "768"},
}
DATA = {
    "kobbq": "KoBBQ_test_samples.tsv of github.com/naver-ai/KoBBQ, or a file with its columns",
    "komt": "question_ko.jsonl of github.com/LG-AI-EXAONE/KoMT-Bench, or a file with its columns",
    "humaneval": "HumanEvalPlus.jsonl of github.com/evalplus/humanevalplus_release",
}
ABOUT = """
Benchmarks that kalign asks and scores itself, over the file data=FILE; base=true, false or a MODEL:
  suite=kobbq  accuracy and diff-bias; prompts=FILE prompt=N take KoBBQ's own file of prompts, and one of it
  suite=komt  Ko-MT-Bench's grades by judge=A,B,...; their square root where an answer is not in Korean
  exempt=ID,...  questions of komt whose answers may be in any language (138,140)
  suite=humaneval  runs the programs that the model writes, each in a process without network and files
  sandbox=limits  runs them where that cannot be, with limits of time and memory alone (strict)
  columns=FIELD:COLUMN,...  where a file of kobbq or komt names its columns otherwise
  max_new_tokens=N  the longest answer (32, 1024, 768)
"""


def evaluate(words: list[str], flags: argparse.Namespace) -> int:
    """Ask a benchmark's questions, score the answers, and print the table."""
    from kalign.config import words as plain

    [suite] = [word.partition("=")[2] for word in words if word.startswith("suite=")]
    given = plain.read(words, settings={**COMMON, **SETTINGS[suite]})
    plain.require_model(given)
    with loading_libraries():
        from kalign.evaluation import declared, scoreboard
        from kalign.evaluation.benchmarks import asked, humaneval, kobbq, komt

    wanted = asked.Wanted(
        suite=suite,
        model=str(given["model"]),
        base=given["base"],
        family=given["family"],
        out=given["out"],
        data=declared.file("data", given["data"], DATA[suite]),
        batch=plain.count("batch", str(given["batch"])),
        max_new_tokens=plain.count("max_new_tokens", str(given["max_new_tokens"])),
    )
    runs = {"kobbq": kobbq.evaluate, "komt": komt.evaluate, "humaneval": humaneval.evaluate}
    folder = runs[suite](wanted, console(flags), given=given)
    if flags.json:
        print((folder / scoreboard.FILE).read_text(encoding="utf-8"), end="")
    return 0
