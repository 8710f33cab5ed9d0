"""A policy as text for a prompt: everything that is said, and nobody who is not there."""

from datetime import date
from pathlib import Path

import pytest

from kalign import packs
from kalign.errors import DataError
from kalign.packs import policy
from kalign.packs.pack import Pack

TODAY = date(2026, 11, 25)


def rendered(isle: Path, on: date = TODAY) -> str:
    pack = packs.load(str(isle))
    return policy.render(pack.policies["Q"], pack, on=on)


def test_the_text_holds_what_policy_taxonomy_and_pack_say(isle: Path) -> None:
    text, pack = rendered(isle), packs.load(str(isle))
    one = pack.policies["Q"]
    said = [one.principle, *one.applies_when, *one.strategy.values(), *one.never, *pack.never]
    said += [principle.requirement for principle in pack.principles]
    said += [kind.definition or "" for kind in pack.taxonomy.leaves("Q")]
    said += [one.example.prompt, one.example.answer, "Ferry Act section 4", "Harbour Desk (00-11)"]
    for sentence in said:
        assert text.count(sentence) == 1, sentence
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == list(pack.headings.values())


def test_an_institution_that_is_not_there_is_not_offered(isle: Path) -> None:
    path = isle / "institutions.yaml"
    path.write_text(path.read_text().replace("valid_to: null", "valid_to: 2026-12-01"))
    assert "## Institutions" in rendered(isle, on=date(2026, 11, 30))
    assert "## Institutions" not in rendered(isle, on=date(2026, 12, 1))


def test_an_unconfirmed_institution_is_not_offered(isle: Path) -> None:
    path = isle / "institutions.yaml"
    path.write_text(path.read_text().replace("confidence: confirmed", "confidence: unconfirmed"))
    assert "Harbour Desk (00-11)" not in rendered(isle)


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("institutions.yaml", "confidence: confirmed", "confidence: sure", "institutions.yaml: institutions"),
        ("taxonomy.yaml", "parent: sharing", "parent: nobody", "its parent nobody is no node"),
        ("policy/Q.yaml", "principle: ", "principel: ", "(and 1 more); kalign pack check"),
        ("policy/Q.yaml", "  P2: ", "  P4: ", "policy/Q.yaml: strategy says nothing of principle P2"),
        ("policy/Q.yaml", "[harbour-desk]", "[nobody]", "nobody is no institution"),
    ],
)
def test_a_pack_that_is_not_right_says_file_and_key(
    isle: Path, name: str, old: str, new: str, said: str
) -> None:
    path = isle / name
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError) as refused:
        rendered(isle)
    assert said in str(refused.value)


def test_only_pack_yaml_is_needed_to_load_a_pack(isle: Path) -> None:
    for path in isle.rglob("*"):
        if path.is_file() and path.name != "pack.yaml":
            path.unlink()
    pack: Pack = packs.load(str(isle))
    assert (pack.name, pack.language, bool(pack.letters.match("q")), bool(pack.letters.match("7"))) == (
        "isle",
        "art",
        True,
        False,
    )
