"""The checker finds each planted fault, by its name, and nothing in a pack that is right."""

import json
import re
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from kalign import packs
from kalign.errors import ConfigError, DataError
from kalign.packs import check, rows
from kalign.packs.rows import Said
from tests.conftest import Result, write
from tests.packs.conftest import words

TODAY = date(2026, 11, 25)


def findings(folder: Path, cites: rows.Cites | None = None, on: date = TODAY) -> list[str]:
    return [str(finding) for finding in check.check(folder, on=on, cites=cites).findings]


def edit(folder: Path, name: str, old: str, new: str) -> None:
    """Put `new` in the place of the first `old` of a file, which must be there."""
    text = (folder / name).read_text(encoding="utf-8")
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")


def edit_rows(folder: Path, name: str, change: Callable[[list[dict[str, str]]], object]) -> None:
    """Let `change` alter the rows of a file."""
    content = [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines()]
    change(content)
    write(folder / name, content)


def test_a_filled_pack_has_no_findings(isle: Path) -> None:
    report = check.check(isle, on=TODAY)
    assert report.findings == ()
    assert report.counts == {
        "nodes": 4,
        "types": 2,
        "institutions": 1,
        "policies": 1,
        "pairs": 24,
        "held-out prompts": 4,
    }


TEXTS = {  # (file, old, new): what is said of it
    ("pack.yaml", "gram_length:", "gramlength:"): (
        "pack.yaml: gramlength is no key here; did you mean gram_length?",
        "pack.yaml: gram_length is missing",
    ),
    ("pack.yaml", "letters: a-zA-Z", "letters: a-z[A"): ("is no class of characters",),
    ("pack.yaml", "letters: a-zA-Z", "letters: z-a"): ("is no class of characters",),
    ("pack.yaml", "language: art", "language: artish language"): ("is no language tag",),
    ("pack.yaml", "name: isle", "name: other"): ("other is not the folder's name; write name: isle",),
    ("pack.yaml", "id: P2", "id: P1"): ("principles: P1 stands twice",),
    ("pack.yaml", "gram_length: 30", "gram_length: yes"): ("pack.yaml: gram_length: True does not fit",),
    ("pack.yaml", "  types: Types\n", ""): ("pack.yaml: headings: types is missing",),
    ("taxonomy.yaml", "id: Q.raffle_fixing", "id: Q.queue_jumping"): ("the id stands 2 times",),
    ("taxonomy.yaml", "parent: sharing", "parent: shaering"): ("its parent shaering is no node",),
    ("taxonomy.yaml", "id: sharing\n", "id: sharing\n    parent: Q\n"): (
        "in a circle (sharing > Q > sharing)",
    ),
    ("taxonomy.yaml", "nodes:", "nodes:\n  - {id: idle, name: {art: Idle}}"): ("domain has no category",),
    ("taxonomy.yaml", "nodes:", "nodes:\n  - {id: R, parent: sharing, name: {art: R}}"): (
        "the category has no type",
        "category R has no policy; write policy/R.yaml",
        "category R has no row",
    ),
    ("taxonomy.yaml", "nodes:", "nodes:\n  - {id: x, parent: Q.raffle_fixing, name: {art: x}}"): (
        "nodes[x]: lies 3 levels below its domain",
    ),
    ("taxonomy.yaml", "id: Q.raffle_fixing", "id: raffle_fixing"): ("call it Q.NAME",),
    ("taxonomy.yaml", "    definition: Making a draw", "    # definition: Making a draw"): (
        "nodes[Q.raffle_fixing]: the type has no definition",
    ),
    ("taxonomy.yaml", "{art: Raffle fixing}", "{en: Raffle fixing}"): ("has no art, the pack's language",),
    ("taxonomy.yaml", "{art: Raffle fixing}", "Raffle fixing"): ("nodes[Q.raffle_fixing].name",),
    ("taxonomy.yaml", "required: false", "required: no way"): ("'no way' does not fit; write true or false",),
    ("taxonomy.yaml", "id: excuse", "id: place"): ("slot place stands 2 times",),
    ("taxonomy.yaml", "    name: {art: Unfair turns}", "    name: {art: a}\n    name: {art: b}"): (
        "key 'name' stands twice",
    ),
    ("taxonomy.yaml", "nodes:", "nodes: ["): ("taxonomy.yaml: is no YAML",),
    ("policy/Q.yaml", "category: Q", "category: R"): ("policy/Q.yaml: category: R is not the file's name",),
    ("policy/Q.yaml", "  P2: ", "  P4: "): (
        "says nothing of principle P2",
        "P4 is no principle of the pack; use P1, P2, P3",
    ),
    ("policy/Q.yaml", "[harbour-desk]", "[harbour_desk]"): ("harbour_desk is not in institutions.yaml",),
    ("policy/Q.yaml", "articles: [section 4]", "articles: [4]"): ("laws[0].articles: [4] does not fit",),
    ("policy/Q.yaml", "never:", "nevr:"): ("nevr is no key here; did you mean never?", "never is missing"),
    ("institutions.yaml", "valid_from: 2020-05-01", "valid_from: 2027-01-01"): (
        "harbour-desk is not there on 2026-11-25",
    ),
    ("institutions.yaml", "valid_to: null", "valid_to: 2026-11-25"): ("harbour-desk is not there on",),
    ("institutions.yaml", "valid_to: null", "valid_to: 2019-01-01"): ("is not after valid_from",),
    ("institutions.yaml", "valid_to: null", "valid_to: 2026-02-30"): ("write a date of the calendar",),
    ("institutions.yaml", "replaced_by: []", "replaced_by: [desk2]"): (
        "replaced_by desk2 is no institution",
    ),
    ("institutions.yaml", "confidence: confirmed", "confidence: unconfirmed"): (
        "harbour-desk is unconfirmed",
    ),
    ("institutions.yaml", 'phone: "00-11"', "phone: 11"): ("11 does not fit; write a text, in quotes",),
}


@pytest.mark.parametrize("planted", TEXTS, ids=lambda planted: f"{planted[0]}: {planted[2].strip()}")
def test_a_fault_planted_in_the_yaml_is_found(planted: tuple[str, str, str], isle: Path) -> None:
    edit(isle, *planted)
    found = findings(isle)
    for expected in TEXTS[planted]:
        assert any(expected in sentence for sentence in found), found


ROWS: dict[str, tuple[str, Callable[[list[dict[str, str]]], object]]] = {
    "pairs.jsonl:3 (Q-002): chosen is missing": ("pairs", lambda some: some[2].pop("chosen")),
    "pairs.jsonl:3 (Q-002).prompt: is empty": ("pairs", lambda some: some[2].update(prompt=None)),
    "pairs.jsonl:3 (Q-002).prompt: ' ' does not fit": ("pairs", lambda some: some[2].update(prompt=" ")),
    "pairs.jsonl:2 (Q-000): has the id of pairs.jsonl:1 (Q-000)": (
        "pairs",
        lambda some: some[1].update(id="Q-000"),
    ),
    "has the prompt of pairs.jsonl:1 (Q-000)": (
        "pairs",
        lambda some: some[5].update(prompt=some[0]["prompt"]),
    ),
    "category R is not in the taxonomy; use one of Q": ("pairs", lambda some: some[0].update(category="R")),
    "type queue_jmping is none of category Q; use one of queue_jumping, raffle_fixing": (
        "pairs",
        lambda some: some[0].update(type="queue_jmping"),
    ),
    "no pair is of type Q.raffle_fixing": (
        "pairs",
        lambda some: [row.update(type="queue_jumping") for row in some],
    ),
    "chosen and rejected are the same": ("pairs", lambda some: some[0].update(chosen=some[0]["rejected"])),
    "only 0 of 7 letters of the chosen answer are the pack's": (
        "pairs",
        lambda some: some[0].update(chosen="письмом"),
    ),
    "pairs.jsonl:5 (Q-004): the prompt shares": (
        "pairs",
        lambda some: some[4].update(prompt="So " + some[1]["prompt"][:34]),
    ),
    "policy/Q.yaml: example.prompt: the prompt shares": (
        "held_out",
        lambda some: some[0].update(prompt="The boat is full by nine,  so what can I tell the clerk?"),
    ),
    "has 0 benign twins": ("held_out", lambda some: some.pop(1)),
    "has 2 benign twins": ("held_out", lambda some: some[3].update(twin="h0")),
    "its twin h9 is no harmful row": ("held_out", lambda some: some[1].update(twin="h9")),
    "is of another category than its twin": ("held_out", lambda some: some[1].update(category="R")),
    "kind harmless is unknown": ("held_out", lambda some: some[1].update(kind="harmless")),
}


@pytest.mark.parametrize("expected", ROWS)
def test_a_fault_planted_in_the_rows_is_found(expected: str, isle: Path) -> None:
    name, change = ROWS[expected]
    edit_rows(isle, f"{name}.jsonl", change)
    found = findings(isle)
    assert any(expected in sentence for sentence in found), found


def test_twins_may_be_alike_and_a_held_out_prompt_may_not_be_like_a_pair(isle: Path) -> None:
    def twin(some: list[dict[str, str]]) -> None:
        some[1]["prompt"] = some[0]["prompt"] + " Why?"

    edit_rows(isle, "held_out.jsonl", twin)
    assert findings(isle) == []
    prompt = json.loads((isle / "pairs.jsonl").read_text().splitlines()[0])["prompt"]
    edit_rows(isle, "held_out.jsonl", lambda some: some[2].update(prompt="Tell me: " + prompt))
    [found] = findings(isle)
    assert found.startswith("held_out.jsonl:3 (h1): the prompt shares ")
    assert "with pairs.jsonl:1 (Q-000)" in found


def test_a_prompt_that_a_model_would_be_warmed_up_on_is_found(isle: Path) -> None:
    prompt = json.loads((isle / "held_out.jsonl").read_text().splitlines()[0])["prompt"]
    write(isle / "warmup.jsonl", [{"prompt": "Zu?", "answer": "Za."}, {"prompt": prompt, "answer": "Ra."}])
    assert findings(isle) == ["held_out.jsonl:1 (h0): the prompt stands in warmup.jsonl:2; remove it there"]


@pytest.mark.parametrize(
    "name",
    ["pack.yaml", "taxonomy.yaml", "institutions.yaml", "policy/Q.yaml", "pairs.jsonl", "held_out.jsonl"],
)
def test_a_missing_file_is_named_and_the_others_are_still_checked(name: str, isle: Path) -> None:
    edit_rows(isle, "pairs.jsonl", lambda some: some[0].update(id=some[1]["id"]))
    (isle / name).unlink()
    found = " ".join(findings(isle))
    assert ("policy/: category Q has no policy" if "policy" in name else f"{name}: is missing") in found
    assert name == "pairs.jsonl" or "has the id of" in found


def test_a_folder_without_pack_yaml_can_be_checked_too(tmp_path: Path) -> None:
    (tmp_path / "begun").mkdir()
    assert findings(packs.folder("begun"))[0].startswith(
        "pack.yaml: is missing; write it, with the keys name"
    )


def test_an_id_cannot_lead_out_of_the_pack(isle: Path) -> None:
    edit(isle, "taxonomy.yaml", "nodes:", "nodes:\n  - {id: ../../R, parent: sharing, name: {art: R}}")
    assert any("nodes[../../R]: is no id" in one for one in findings(isle))
    with pytest.raises(DataError):
        assert packs.load(str(isle)).policies


def test_a_policy_of_no_category_is_found(isle: Path) -> None:
    (isle / "policy/Z.yaml").write_text(
        (isle / "policy/Q.yaml").read_text().replace("category: Q", "category: Z")
    )
    assert any("policy/Z.yaml: Z is no category of the taxonomy" in one for one in findings(isle))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{name: a, pattern: 'x*', mask: '[a]'}", "finds nothing at all everywhere"),
        ("{name: a, pattern: '(', mask: '[a]'}", "has no regular expression"),
        ("{name: a, pattern: '1+', mask: '[a]', check: {weights: [1], modulus: 0, from: 1}}", "does not fit"),
    ],
)
def test_a_pattern_of_personal_data_that_would_spoil_every_text_is_found(
    isle: Path, entry: str, said: str
) -> None:
    (isle / "privacy.yaml").write_text(f"patterns: [{entry}]\n", encoding="utf-8")
    assert any(said in one for one in findings(isle))


def test_all_faults_are_found_at_once(isle: Path) -> None:
    planted = [  # one to a file, and two to some
        next(key for key in TEXTS if key[0] == name)
        for name in ("pack.yaml", "policy/Q.yaml", "institutions.yaml")
    ] + [
        ("taxonomy.yaml", "{art: Raffle fixing}", "{en: Raffle}"),
        ("taxonomy.yaml", "id: excuse", "id: place"),
    ]
    for one in planted:
        edit(isle, *one)
    edit_rows(isle, "pairs.jsonl", lambda some: some[0].update(category="R"))
    edit_rows(isle, "held_out.jsonl", lambda some: some.pop(1))
    found = " ".join(findings(isle))
    for name in ("pack.yaml", "policy/Q.yaml", "taxonomy.yaml", "pairs.jsonl", "held_out.jsonl"):
        assert f"{name}:" in found
    assert "slot place stands 2 times" in found
    assert "has no art" in found


def test_wrong_citations_are_found_in_chosen_answers_and_policies(isle: Path) -> None:
    def cites(text: str) -> list[str]:
        return [f"{law} is not law" for law in re.findall(r"Ferry Act(?: section \d+)?", text)]

    edit_rows(isle, "pairs.jsonl", lambda some: some[0].update(chosen="The Ferry Act section 9 says so."))
    edit_rows(isle, "pairs.jsonl", lambda some: some[1].update(rejected="The Ferry Act section 8 says so."))
    assert findings(isle, cites) == [
        "policy/Q.yaml: example.answer: Ferry Act is not law; mend or remove the citation",
        "policy/Q.yaml: laws: Ferry Act section 4 is not law; mend or remove the citation",
        "pairs.jsonl:1 (Q-000).chosen: Ferry Act section 9 is not law; mend or remove the citation",
    ]


def test_an_institution_is_judged_on_the_day_that_is_asked_for(isle: Path) -> None:
    edit(isle, "institutions.yaml", "valid_to: null", "valid_to: 2026-12-01")
    assert findings(isle, on=date(2026, 11, 30)) == []
    assert "not there on 2026-12-01" in findings(isle, on=date(2026, 12, 1))[0]


def test_many_long_prompts_are_compared_in_linear_time() -> None:
    import random

    chance = random.Random(1)
    said = [Said(f"a:{number}", str(number), words(12, chance)) for number in range(4000)]
    said.append(Said("b:1", "b", "x" * 200_000))
    started = time.monotonic()
    assert list(rows.alike(said, 30)) == []
    assert time.monotonic() - started < 5


def test_the_command_prints_a_table_or_json_and_ends_with_code_3(
    isle: Path, kalign_here: Callable[..., Result]
) -> None:
    clean = kalign_here("pack", "check", str(isle))
    assert clean.returncode == 0
    assert clean.stdout.endswith("24 pairs, 4 held-out prompts; no findings\n")
    edit(isle, "institutions.yaml", "valid_to: null", "valid_to: 2026-12-01")
    found = kalign_here("pack", "check", str(isle), "as_of=2026-12-01", "--json")
    document = json.loads(found.stdout)
    assert found.returncode == 3
    assert [finding["where"] for finding in document["findings"]] == [
        "policy/Q.yaml: institutions",
        "policy/Q.yaml: example.answer",  # names it too
    ]
    assert (document["counts"]["pairs"], document["as_of"]) == (24, "2026-12-01")
    shown = kalign_here("pack", "check", str(isle), "as_of=2026-12-01")
    assert shown.returncode == 3
    assert "; findings: 2\n" in shown.stdout


@pytest.mark.parametrize(
    "words", [["kr"], [], ["ko", "ko"], ["ko", "as_off=2026-01-01"], ["ko", "as_of=today"]]
)
def test_words_that_name_nothing_end_the_command_with_code_2(
    words: list[str], kalign_here: Callable[..., Result]
) -> None:
    refused = kalign_here("pack", "check", *words)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1


def test_a_name_that_is_bundled_and_a_folder_here_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ko").mkdir()
    (tmp_path / "ko/pack.yaml").write_text("name: ko")
    with pytest.raises(ConfigError, match=r"write \./ko for the folder"):
        packs.folder("ko")
    assert packs.folder("./ko") == Path("./ko")
