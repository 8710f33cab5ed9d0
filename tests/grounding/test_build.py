"""Tables of laws: built from a checkout or an index, read back the same, refused when they are wrong."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kalign import packs
from kalign.errors import DataError
from kalign.grounding import build, grammar, statutes
from kalign.grounding.build import Origin
from tests.conftest import SHARED, Result

ORIGIN = Origin(source="test", as_of="2026-06-08")
GRAMMAR = grammar.read(packs.folder("ko") / "citations.yaml")
HEAD = "law_id,law_name,kind,promulgated,effective,status,article,branch,branch2,title,deleted\n"


def index(folder: Path, *rows: str) -> Path:
    path = folder / build.INDEX
    path.write_bytes(gzip.compress((HEAD + "".join(row + "\n" for row in rows)).encode()))
    return folder


def checkout(folder: Path, name: str, body: str, **keys: str) -> None:
    front = {
        "제목": name,
        "법령ID": "000001",
        "법령구분": "법률",
        "공포일자": "2026-01-02",
        "시행일자": "2026-03-04",
        "상태": "시행",
    } | keys
    path = folder / "kr" / name / "법률.md"
    path.parent.mkdir(parents=True)
    lines = "".join(f"{key}: {value}\n" for key, value in front.items())
    path.write_text(f"---\n{lines}---\n\n# {name}\n\n{body}", encoding="utf-8")


def test_a_checkout_gives_numbers_branches_titles_and_deletions(tmp_path: Path) -> None:
    body = (
        "##### 제1조 (목적)\n\n이 법은\n\n##### 제2조 \n\n삭제 <2020. 1. 1.>\n\n"
        "##### 제2조의2 (정의)\n\n뜻은\n\n## 부칙\n\n이 법은 제1조 (목적)\n"
    )
    checkout(tmp_path, "고래 보호법", body)
    table = build.build(tmp_path, GRAMMAR, ORIGIN)
    law = table.named("고래보호법")
    assert law is not None
    assert (law.law_id, law.promulgated, law.effective) == ("000001", "2026-01-02", "2026-03-04")
    found = {(a.article, a.branch): (a.title, a.deleted) for a in table.articles.values()}
    assert found == {(1, 0): ("목적", False), (2, 0): ("", True), (2, 2): ("정의", False)}


@pytest.mark.parametrize(
    "broken",
    [
        gzip.compress(HEAD.encode() * 50)[:-40],
        gzip.compress(HEAD.encode() * 50)[:20] + b"\xff" * 40,
        gzip.compress((HEAD + f"1,{'x' * 5_000_000},법률,a,b,c,1,0,0,t,0\n").encode()),
        b"PK",
    ],
    ids=["cut", "damaged", "a huge field", "no gzip"],
)
def test_a_damaged_index_is_refused(tmp_path: Path, broken: bytes) -> None:
    (tmp_path / build.INDEX).write_bytes(broken)
    with pytest.raises(DataError, match="is no index of articles"):
        build.build(tmp_path, GRAMMAR, ORIGIN)


@pytest.mark.parametrize(
    ("content", "said"), [(b"\xff\xfe", "not UTF-8, byte 0"), (b"---\n- a\n---\n", "has no keys")]
)
def test_a_law_that_is_no_text_or_has_no_front_matter_is_named(
    tmp_path: Path, content: bytes, said: str
) -> None:
    checkout(tmp_path, "고래 보호법", "##### 제1조 (목적)\n")
    path = tmp_path / "kr/고래 보호법/법률.md"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"법률.md: .*{said}"):
        build.build(tmp_path, GRAMMAR, ORIGIN)


def test_lost_branch_numbers_are_noticed(tmp_path: Path) -> None:
    checkout(tmp_path, "고래 보호법", "##### 제2조 (정의)\n\n가\n\n##### 제2조 (정의의 특례)\n\n나\n")
    with pytest.raises(DataError, match="article 2 branch 0 twice"):
        build.build(tmp_path, GRAMMAR, ORIGIN)


def test_of_laws_with_one_name_the_newest_counts_and_repeals_count_for_nothing(tmp_path: Path) -> None:
    rows = [
        "000011,우표법,법률,1990-01-01,1990-01-01,시행,1,0,0,옛 목적,0",
        "000012,우표법,법률,2020-01-01,2020-01-01,시행,1,0,0,목적,0",
        "000013,폐지된 법,법률,2020-01-01,2020-01-01,시행,0,0,0,,0",
    ]
    table = build.build(index(tmp_path, *rows), GRAMMAR, ORIGIN)
    newest, repealed = table.named("우표법"), table.named("폐지된법")
    assert newest is not None
    assert newest.law_id == "000012"
    assert repealed is not None
    assert repealed.confidence == "unconfirmed"
    assert all(article.article for article in table.articles.values())


def test_a_table_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    table = build.build(
        index(tmp_path, '000012,"기쁨, 슬픔 법",법률,2020-01-01,,시행,1,2,0,"목적, 정의",0'), GRAMMAR, ORIGIN
    )
    statutes.write(tmp_path / "out", table)
    again = statutes.read(tmp_path / "out")
    assert dict(again.laws) == dict(table.laws)
    assert dict(again.articles) == dict(table.articles)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("articles.csv", "law_id,article\n1,2\n", "the columns should be"),
        (
            "articles.csv",
            ",".join(statutes.ARTICLE_COLUMNS) + "\n9,1,0,t,0,2020-01-01\n",
            "is not in laws.csv",
        ),
        ("articles.csv", ",".join(statutes.ARTICLE_COLUMNS) + "\n9,x,0,t,0,2020-01-01\n", "is no number"),
        ("articles.csv", ",".join(statutes.ARTICLE_COLUMNS) + "\n9,1,0,t,2,2020-01-01\n", "use 0 or 1"),
    ],
)
def test_a_broken_table_is_refused_with_its_line(tmp_path: Path, name: str, content: str, said: str) -> None:
    law = "1,법,법률,2020-01-01,2020-01-01,s,2026-06-08,confirmed"
    (tmp_path / "laws.csv").write_text(",".join(statutes.LAW_COLUMNS) + f"\n{law}\n", encoding="utf-8")
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        statutes.read(tmp_path)


def test_the_bundled_table_holds_enough_laws_whole_and_passes_its_probes() -> None:
    table = statutes.read(packs.folder("ko") / "statutes")
    assert len(table.titled) >= 60
    assert build.faults(table, GRAMMAR.probes) == []
    assert all(law.source and law.as_of and law.confidence for law in table.laws.values())
    criminal = table.named("형법")
    assert criminal is not None
    numbers = {key[1] for key in table.articles if key[0] == criminal.law_id}
    assert set(range(1, 373)) <= numbers


@pytest.mark.skipif(
    not SHARED.is_dir(), reason="the index of statutes lies in ../shared/data, which is not here"
)
def test_the_bundled_table_is_what_the_command_makes_of_the_index(kalign_here: Callable[..., Result]) -> None:
    words = ["as_of=2026-06-08", "scope=pack", "origin=law.go.kr, legalize-kr tree b5dd53a"]
    built = kalign_here("grounding", "build", "--source", str(SHARED / "statutes"), *words, "--json")
    assert built.returncode == 0, built.stderr
    assert json.loads(built.stdout)["faults"] == []
    for name in ("laws.csv", "articles.csv"):
        made, bundled = Path("statutes") / name, packs.folder("ko") / "statutes" / name
        assert made.read_bytes() == bundled.read_bytes()


def test_a_build_without_a_source_is_refused(kalign_here: Callable[..., Result]) -> None:
    for flags in ([], ["--source", "nowhere"]):
        refused = kalign_here("grounding", "build", *flags)
        assert refused.returncode == 2
        assert "--source" in refused.stderr
