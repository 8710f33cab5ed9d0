"""The command that scores pairs with the reference ahead of training."""

import argparse
from collections.abc import Mapping

from kalign.commands.command import Command, console, loading_libraries, print_json
from kalign.errors import ConfigError


def reference(words: list[str], flags: argparse.Namespace) -> int:
    """Score every pair of a recipe with the frozen base, and keep what it says for all trainings to come."""
    from kalign.config import compose

    recipe = compose.load(words)
    if recipe.method != "dpo":
        raise ConfigError(
            f"method={recipe.method} reads no reference of pairs, so nothing is scored; use dpo"
        )
    with loading_libraries():
        from kalign.training.references import ahead

    document = ahead.run(recipe, console(flags))
    if flags.json:
        print_json(document)
    return 0


COMMANDS: Mapping[str, Command] = {
    "reference": Command(
        run=reference,
        summary="score pairs with the reference ahead of training, once for all runs",
        example="kalign reference recipe=exaone data.path=my.jsonl",
    ),
}
