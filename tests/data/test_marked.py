"""Pairs chosen, repeated and marked by the tags of their prompts, through the door of every other pair."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalign import files
from kalign.config import Data
from kalign.config.markers import Markers, Selection
from kalign.data import build, marked, tags
from kalign.data.build import Pairs
from kalign.data.ledger import Line
from kalign.errors import ConfigError, DataError
from kalign.markers import tagging
from tests.conftest import write
from tests.data.test_build import KOREAN, Letters

CULTURAL = 6  # of the 40 pairs


@pytest.fixture
def pairs_with_tags(tmp_path: Path) -> dict[str, str]:
    """Forty pairs, six of them on a holiday, and their tags."""
    rows = [
        {
            "id": str(n),
            "prompt": f"question {n}" + (" on the holiday" if n < CULTURAL else ""),
            "chosen": f"good {n}",
            "rejected": f"bad {n}",
        }
        for n in range(40)
    ]
    write(tmp_path / "pairs.jsonl", rows)
    known = [
        {
            "text_sha256": tags.key(row["prompt"]),
            "culture": ["general"] if n < CULTURAL else [],
            "domain": "Culture" if n < CULTURAL else "Code",
            "task": "Unspecified",
            "geo": ["KR"] if n < 3 else [],
            "lang": "en",
            "status": "unparsed" if n == 39 else "ok",
        }
        for n, row in enumerate(rows)
    ]
    columns = {name: tagging.SCHEMA.field(name).type for name in known[0]}
    files.write_parquet(tmp_path / "tags.parquet", known, columns)
    return {"path": str(tmp_path / "pairs.jsonl"), "tags": str(tmp_path / "tags.parquet")}


def built(where: dict[str, str], **settings: object) -> Pairs:
    data = Data(**where, eval_share=0.1, **settings)  # type: ignore[arg-type]
    data.check()
    return build.build(data, Letters(), letters=KOREAN)


def test_an_arm_with_markers_sees_the_same_pairs_with_markers_on_some_prompts(
    pairs_with_tags: dict[str, str],
) -> None:
    plain = built(pairs_with_tags)
    arm = built(pairs_with_tags, markers=Markers(arm="markers", completion=True))
    assert [pair.triplet.id for pair in arm.train] == [pair.triplet.id for pair in plain.train]
    assert arm.held_out == plain.held_out
    bare = 0
    for with_markers, without in zip(arm.train, plain.train, strict=True):
        prompt, before = (with_markers.triplet.prompt[-1].content, without.triplet.prompt[-1].content)
        assert prompt.startswith(before)
        bare += prompt == before
        chosen = with_markers.triplet.chosen[0].content
        if with_markers.triplet.id != "39":
            assert re.match(r"<culture>(general|none)</culture><domain>\w+</domain>", chosen)
            assert len(with_markers.chosen_ids) > len(without.chosen_ids)
    assert 8 < bare < 30
    facts = arm.summary.facts
    assert facts["tokens an epoch, without markers"] == plain.summary.facts["tokens an epoch, with markers"]
    assert facts["tokens an epoch, with markers"] > facts["tokens an epoch, without markers"]
    assert facts["of them without known tags"] == 1


def test_more_cultural_data_is_as_many_pairs_with_more_cultural_ones(pairs_with_tags: dict[str, str]) -> None:
    plain = built(pairs_with_tags)
    more = built(pairs_with_tags, markers=Markers(arm="more_cultural_data", cultural_share=0.5))
    assert len(more.train) == len(plain.train) == 36
    facts = more.summary.facts
    assert facts["of them cultural"] == 18
    assert facts["of them different pairs"] == plain.summary.facts["of them cultural"] + 18
    assert facts["most copies of one pair"] > 1
    assert more.summary.dropped == {"selection": plain.summary.train - facts["of them different pairs"]}
    assert more.summary.drop_share == 0
    assert more.held_out == plain.held_out
    assert more.summary.rows == more.summary.train + more.summary.eval + sum(more.summary.dropped.values())


def test_pairs_are_chosen_by_their_values(pairs_with_tags: dict[str, str]) -> None:
    only = built(pairs_with_tags, selection=Selection(by="geo", keep=["KR"]))
    assert {pair.triplet.id for pair in only.train} <= {"0", "1", "2"}
    none = built(pairs_with_tags, selection=Selection(by="domain", shares={"Code": 1.0}))
    assert not {pair.triplet.id for pair in none.train} & {"0", "1", "2", "3", "4", "5"}
    with pytest.raises(DataError, match="no pair to train on is Math, which should have 18 of 36"):
        built(pairs_with_tags, selection=Selection(by="domain", shares={"Math": 0.5}))


def test_a_held_out_prompt_has_markers_in_mode_fixed_only(pairs_with_tags: dict[str, str]) -> None:
    plain = built(pairs_with_tags)
    fixed = built(pairs_with_tags, markers=Markers(mode="fixed", fixed={"lang": "ko"}))
    suffix = Letters().tokens(plain.held_out[0].triplet).prompt
    for one, other in zip(plain.held_out, fixed.held_out, strict=True):
        assert one.prompt_ids == Letters().tokens(one.triplet).prompt
        assert len(other.prompt_ids) - len(one.prompt_ids) == len("\n<lang>ko</lang>")
        assert (one.chosen_ids, one.rejected_ids) == (other.chosen_ids, other.rejected_ids)
    assert suffix


def test_every_arm_leaves_out_what_would_not_fit_with_its_markers(pairs_with_tags: dict[str, str]) -> None:
    for arm in ("none", "markers", "more_cultural_data"):
        arms = built(pairs_with_tags, markers=Markers(arm=arm, cultural_share=0.2), max_length=136)
        assert (
            arms.summary.dropped["too_long_with_markers"] == 3
        )  # on the holiday, but not in KR: two letters more


def test_tags_of_other_data_and_settings_without_tags_are_refused(
    pairs_with_tags: dict[str, str], tmp_path: Path
) -> None:
    write(tmp_path / "other.jsonl", [{"prompt": "new", "chosen": "a", "rejected": "b"}])
    with pytest.raises(DataError, match="has no tags for the prompt of data:1"):
        built(pairs_with_tags | {"path": str(tmp_path / "other.jsonl")})
    for settings, said in (
        ({"markers": Markers(arm="markers")}, "data.tags is not set"),
        ({"selection": Selection(keep=["cultural"])}, "data.tags is not set"),
        ({"markers": Markers(mode="inferred")}, "data.markers.completion=true only"),
        ({"markers": Markers(mode="fixed")}, "has no markers; give data.markers.fixed"),
        ({"markers": Markers(fixed={"lang": "ko"})}, "read in mode fixed only"),
        ({"selection": Selection(shares={"none": 0.7, "general": 0.5})}, "add up to 1.2"),
    ):
        with pytest.raises(ConfigError, match=said):
            Data(path="x", **settings).check()  # type: ignore[arg-type]


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 20), min_size=1),
    st.lists(st.integers(0, 10), min_size=4, max_size=4).filter(sum),
)
def test_shares_are_met_to_the_nearest_whole_pair(sizes: dict[str, int], weights: list[int]) -> None:
    groups = {
        name: [Line(source="x", row=n, id=f"{name}{n}", copies=1, action="train") for n in range(size)]
        for name, size in sizes.items()
    }
    named = dict(zip(groups, weights, strict=False))
    if not sum(named.values()):
        return
    shares = {name: weight / sum(named.values()) for name, weight in named.items()}
    total = sum(sizes.values())
    marked.resample(groups, shares, seed=1)
    for name, lines in groups.items():
        copies = [line.copies for line in lines]
        assert abs(sum(copies) - shares[name] * total) < 1
        assert max(copies) - min(copies) <= 1
        assert all((line.action == "drop") == (line.copies == 0) for line in lines)
    assert sum(line.copies for lines in groups.values() for line in lines) == total
