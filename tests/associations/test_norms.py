"""Norm files of every known layout, and what is said of malformed ones; what becomes of them."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from kalign import files
from kalign.associations import norms
from kalign.config import AssociationColumns, Associations, Columns
from kalign.data import layouts
from kalign.errors import ConfigError, DataError
from tests.conftest import Result

Kalign = Callable[..., Result]

EN = "rowid,participantID,country,nativeLanguage,cue,R1,R2,R3\n"
ZH = "SequenceNumber,ParticipantID,Country,Cue,R1Raw,R2Raw,R3Raw,R1,R2,R3\n"


def read(folder: Path, text: str, name: str = "norms.csv", **settings: object) -> norms.Norms:
    (folder / name).write_text(text, encoding="utf-8")
    return norms.read(str(folder / name), Associations(**settings))  # type: ignore[arg-type]


def test_raw_rows_of_swow_are_cleaned_and_counted(tmp_path: Path) -> None:
    text = EN + (
        "1,7,United States,United States,Net,Fish,Mosquito  net,No more responses\n"
        "2,8,United States,United States,net,fish ,net,Unknown word\n"
        "3,9,Canada,Canada,net,hockey,goal,NA\n"
    )
    found = read(tmp_path, text)
    assert found.layout == "swow_en"
    assert found.counts == {"net": {"fish": 2, "goal": 1, "hockey": 1, "mosquito net": 1}}
    assert list(found.counts["net"]) == ["fish", "goal", "hockey", "mosquito net"]
    assert found.facts["dropped: missing"] == 2
    assert found.facts["dropped: unknown"] == found.facts["dropped: the cue itself"] == 1
    assert found.trials[0] == ("net", ("fish", "mosquito net"))
    assert "NC-ND" in found.licence
    here = read(tmp_path, text, where=["country=United States", "nativeLanguage=United States"])
    assert here.counts == {"net": {"fish": 2, "mosquito net": 1}}
    assert here.facts["rows outside associations.where"] == 1


def test_raw_rows_of_swow_zh_lose_their_markers_and_masked_words(tmp_path: Path) -> None:
    masked = "0123456789abcdef" * 2
    found = read(
        tmp_path, ZH + f"1,1,中国,挤,a,b,c,地铁,#Missing,#Unknown\n2,2,中国,挤,a,b,c,{masked},地铁,牙膏\n"
    )
    assert found.layout == "swow_zh"
    assert found.counts == {"挤": {"地铁": 2, "牙膏": 1}}
    assert found.facts["dropped: masked"] == 1


@pytest.mark.parametrize(
    ("layout", "text"),
    [
        (
            "strength_r123",
            'cue\tresponse\tR123\tN\tR123.Strength\n"sea"\tfish\t3\t4\t0.75\nsea\tsalt\t1\t4\t0.25\n',
        ),
        ("strength_r1", "cue\tresponse\tR1\tN\tR1.Strength\nsea\tfish\t3\t4\t0.75\nsea\tsalt\t1\t4\t0.25\n"),
        ("edges", "src,tgt,wt\nsea,fish,3\nsea,salt,1.0\n"),
        ("swow_en", "cue,R1,R2,R3\nsea,fish,salt,\nsea,fish,,\nsea,fish,,\n"),
        ("swow_raw", "Cue,R1Raw,R2Raw,R3Raw\nsea,fish,salt,\nsea,fish,,\nsea,fish,,\n"),
    ],
)
def test_every_layout_gives_the_same_counts(layout: str, text: str, tmp_path: Path) -> None:
    found = read(tmp_path, text)
    assert (found.layout, found.counts) == (layout, {"sea": {"fish": 3, "salt": 1}})


def test_a_file_of_ones_own_needs_no_code(tmp_path: Path) -> None:
    text = "제시어,연상어,횟수\n바다,물고기,3\n바다,소금,1\n"
    columns = AssociationColumns(cue="제시어", responses=["연상어"], count="횟수")
    found = read(tmp_path, text, layout="table", columns=columns)
    assert found.counts == {"바다": {"물고기": 3, "소금": 1}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("src,tgt,wt\nsea,fish,3\nsea,salt,many\n", r"norms.csv:3: wt is 'many'"),
        ("src,tgt,wt\nsea,fish,-3\n", r"norms.csv:2: wt is '-3'"),
        ("src,tgt,wt\nsea,fish,3\n ,salt,1\n", r"norms.csv:3: the cue is empty"),
        ("src,tgt,wt\nsea,fish\n", r"norms.csv:2: 2 fields for 3 columns"),
        ("cue\tresponse\tR1\tN\nsea\tfish\t1\n", r"norms.csv:2: 3 fields for 4 columns"),
        ("word,answer\nsea,fish\n", r"norms.csv:1: its columns are word, answer"),
        ("src,tgt,wt\n", r"names columns, but has no rows"),
        ("", r"is empty"),
    ],
)
def test_a_malformed_file_is_refused_with_its_line(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        read(tmp_path, text)


def test_bytes_that_are_no_text_are_refused_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "norms.tsv"
    path.write_bytes(b"cue\tresponse\tR1\nsea\tfish\t1\nsea\t\xff\t1\n")
    with pytest.raises(DataError, match=re.escape(f"{path}:3: not UTF-8, byte 0xff")):
        norms.read(str(path), Associations())


def test_a_condition_on_a_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no COLUMN=VALUE"):
        read(tmp_path, "src,tgt,wt\nsea,fish,3\n", where=["land=sea"])
    with pytest.raises(ConfigError, match="kalign has bundled:"):
        norms.read("bundled:nowhere", Associations())


def test_norms_are_shown_with_their_licence(kalign_here: Kalign, tmp_path: Path) -> None:
    said = kalign_here("norms", "check", "bundled:shore", "--json")
    document = json.loads(said.stdout)
    assert document["facts"]["cues"] == 96
    assert "invented" in document["licence"]
    path = tmp_path / "bad.csv"
    path.write_text("src,tgt,wt\nsea,fish,3\nsea,salt,x\n", encoding="utf-8")
    refused = kalign_here("norms", "check", str(path))
    assert (refused.returncode, f"{path}:3: wt is 'x'" in refused.stderr) == (3, True)
    assert kalign_here("norms", "check").returncode == 2


def test_pairs_of_norms_are_what_dpo_reads(kalign_here: Kalign, tmp_path: Path) -> None:
    out = tmp_path / "pairs.jsonl"
    plain = ["associations.prompts=plain", "associations.top_k=5", f"out={out}"]
    done = kalign_here("norms", "pairs", "bundled:hill", "other=bundled:shore", "other_culture=shore", *plain)
    assert done.returncode == 0, done.stderr
    rows = [row for _, row in files.read_jsonl(out)]
    assert {row["rejected_kind"] for row in rows} == {"ranking", "culture:shore"}
    for row in rows:
        assert layouts.triplet(row, Columns(), row["id"]).chosen[0].content == row["chosen"]
