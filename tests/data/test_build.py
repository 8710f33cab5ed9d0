import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalign import files, packs
from kalign.config import Columns, Data, Source
from kalign.data import build, ledger, sources
from kalign.data.build import Pairs
from kalign.errors import ConfigError, DataError
from kalign.models.chat import TripletTokens
from kalign.packs import start
from kalign.records import Triplet, UnusableTriplet, text
from tests.conftest import SHARED, pair, write

KOREAN = packs.load("ko").letters
ANSWERS = {"chosen": "맞는 답", "rejected": "틀린 답"}


class Letters:
    """A tokenizer of one id a letter, and 0 as the turn end."""

    def tokens(self, triplet: Triplet) -> TripletTokens:
        prompt, chosen, rejected = (
            [ord(c) for c in text(part)] for part in (triplet.prompt, triplet.chosen, triplet.rejected)
        )
        if "합침" in text(triplet.chosen):
            raise UnusableTriplet("boundary_merge", "merged")
        count = text(triplet.prompt).count("<end>")
        return TripletTokens(
            prompt=prompt, chosen=[*chosen, 0], rejected=[*rejected, 0], control_tokens=count
        )


def built(path: Path, rows: list[dict[str, Any]] | None = None, **options: Any) -> Pairs:
    if rows is not None:
        write(path, rows)
    return build.build(Data(path=str(path), **options), Letters(), letters=KOREAN)


def reasons(pairs: Pairs) -> dict[str, int]:
    return pairs.summary.dropped


def adds_up(pairs: Pairs) -> bool:
    account = pairs.summary
    return account.rows == len(pairs.lines) == account.train + account.eval + sum(account.dropped.values())


def test_every_row_leaves_a_line_and_the_lines_add_up(tmp_path: Path) -> None:
    rows = [pair(number) for number in range(20)]
    rows += [
        rows[0],  # exact duplicate
        {
            "prompt": rows[1]["prompt"],
            "chosen": rows[1]["rejected"],
            "rejected": rows[1]["chosen"],
        },  # the opposite
        {"prompt": "같은 답", "chosen": "a", "rejected": "a "},
        {"prompt": "빈 답", "chosen": "", "rejected": "a"},
        {"prompt": "긴 답", "chosen": "가" * 500, "rejected": "a"},
        {"prompt": "합치기", "chosen": "합침", "rejected": "a"},
    ]
    pairs = built(tmp_path / "a.jsonl", rows, max_length=200)
    assert reasons(pairs) == {
        "boundary_merge": 1,
        "contradiction": 2,
        "empty_chosen": 1,
        "exact_duplicate": 1,
        "identical": 1,
        "too_long": 1,
    }
    assert adds_up(pairs)
    assert len(pairs.train) + len(pairs.held_out) == 19
    assert [line.row for line in pairs.lines] == list(range(1, 27))


def test_more_lost_than_allowed_stops_with_the_worst_reason_and_its_remedy(tmp_path: Path) -> None:
    rows = [pair(number) for number in range(98)]
    one_long = {"prompt": "긴 답", "chosen": "가" * 2000, "rejected": "a"}
    data = Data(path=str(tmp_path / "a.jsonl"))
    pairs = built(tmp_path / "a.jsonl", [*rows, *[rows[0]] * 50])
    build.require_acceptable(pairs, data)  # exact duplicates do not count
    pairs = built(tmp_path / "a.jsonl", [*rows, rows[0], one_long])
    with pytest.raises(
        DataError, match=r"1\.0% of the pairs were dropped \(1 too_long\).*raise data.max_length"
    ):
        build.require_acceptable(pairs, data)
    data.max_drop_share = 0.02
    build.require_acceptable(pairs, data)


def test_all_rows_too_long_is_said(tmp_path: Path) -> None:
    pairs = built(tmp_path / "a.jsonl", [pair(number) for number in range(5)], max_length=4)
    with pytest.raises(DataError, match=r"100\.0% of the pairs were dropped \(5 too_long\)"):
        build.require_acceptable(pairs, Data(max_length=4))


def test_parts_of_a_prompt_that_no_column_names_are_counted(tmp_path: Path) -> None:
    rows = [pair(number) | {"system": "친절하게" if number % 2 else "", "input": ""} for number in range(6)]
    assert built(tmp_path / "a.jsonl", rows).summary.facts == {"rows whose 'system' is not read": 3}
    named = Columns(prompt="system", chosen="chosen", rejected="rejected")
    assert built(tmp_path / "a.jsonl", rows, columns=named).summary.facts == {}
    both = {name: Source(path=str(tmp_path / "a.jsonl")) for name in "ab"}
    mixed = build.build(Data(mix=both), Letters(), letters=KOREAN)
    assert mixed.summary.facts == {"rows whose 'system' is not read": 6}


def test_a_share_that_leaves_nothing_to_train_on_is_named(tmp_path: Path) -> None:
    pairs = built(tmp_path / "a.jsonl", [pair(number) for number in range(3)], eval_share=0.9)
    with pytest.raises(DataError, match=r"all 3 pairs are held out by data\.eval_share=0\.9.*lower it"):
        build.require_acceptable(pairs, Data(eval_share=0.9))


def test_truncation_happens_only_when_asked_for_and_is_noted_on_its_side(tmp_path: Path) -> None:
    rows = [pair(number) for number in range(9)] + [
        {"prompt": "긴", "chosen": "가" * 300, "rejected": "짧다"}
    ]
    pairs = built(tmp_path / "a.jsonl", rows, max_length=100, on_overflow="truncate")
    [line] = [line for line in pairs.lines if line.reason == "truncated"]
    assert (line.chosen_truncated, line.rejected_truncated, line.chosen_tokens) == (True, False, 301)
    assert max(len(one.prompt_ids) + len(one.chosen_ids) for one in [*pairs.train, *pairs.held_out]) == 100
    assert pairs.summary.truncated == 1
    alike = [{"prompt": "긴", "chosen": "가" * 300 + "나", "rejected": "가" * 300 + "다"}]
    assert reasons(built(tmp_path / "a.jsonl", rows[:9] + alike, max_length=100, on_overflow="truncate")) == {
        "identical_after_truncation": 1
    }


def test_no_prompt_is_on_both_sides_of_the_split(tmp_path: Path) -> None:
    rows = [dict(pair(number), chosen=f"답 {number} {copy}") for number in range(30) for copy in range(3)]
    rows += [
        dict(row, prompt="  " + row["prompt"].replace(" ", "   ") + "?", chosen="x" + row["chosen"])
        for row in rows
    ]
    pairs = built(tmp_path / "a.jsonl", rows, eval_share=0.2)

    def families(some: list[build.Pair]) -> set[str]:
        return {"".join(letter for letter in text(one.triplet.prompt) if letter.isalnum()) for one in some}

    assert families(pairs.train).isdisjoint(families(pairs.held_out))
    assert len(families(pairs.held_out)) == 6
    assert len(pairs.held_out) == 36


def test_a_declared_family_keeps_rows_together(tmp_path: Path) -> None:
    rows = [dict(pair(number), topic=str(number % 5)) for number in range(40)]
    pairs = built(tmp_path / "a.jsonl", rows, eval_share=0.2, columns=Columns(family="topic"))
    sides = {side: {line.family for line in pairs.lines if line.action == side} for side in ("train", "eval")}
    assert len(sides["eval"]) == 1
    assert sides["train"].isdisjoint(sides["eval"])
    with pytest.raises(DataError, match="data.columns.family"):
        built(tmp_path / "a.jsonl", columns=Columns(family="none"))


def test_the_split_is_seeded_and_more_data_moves_nothing_out_of_the_training_set(tmp_path: Path) -> None:
    rows = [pair(number) for number in range(60)]
    sides = [
        {line.id: line.action for line in built(tmp_path / "a.jsonl", rows, seed=seed).lines}
        for seed in (1, 1, 2)
    ]
    assert sides[0] == sides[1] != sides[2]
    shuffled = {
        line.id
        for line in built(tmp_path / "b.jsonl", [dict(row, id=row["prompt"]) for row in rows[::-1]]).lines
        if line.action == "eval"
    }
    ordered = {
        line.id
        for line in built(tmp_path / "c.jsonl", [dict(row, id=row["prompt"]) for row in rows]).lines
        if line.action == "eval"
    }
    assert shuffled == ordered


def test_weights_say_how_often_a_pair_is_seen(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [pair(number) for number in range(200)])
    write(tmp_path / "b.jsonl", [pair(number) for number in range(200, 220)])
    mix = {"a": Source(path="a.jsonl", weight=0.5), "b": Source(path="b.jsonl", weight=2.0)}
    pairs = build.build(Data(mix=mix, eval_share=0.1), Letters(), letters=KOREAN)
    seen = {
        name: [line.copies for line in pairs.lines if line.source == name and line.action == "train"]
        for name in mix
    }
    assert set(seen["b"]) == {2}
    assert 60 < len(seen["a"]) < 120  # half of 200, less what is held out
    assert len(pairs.train) == sum(seen["a"]) + sum(seen["b"])
    assert adds_up(pairs)
    build.require_acceptable(pairs, Data())  # what a weight leaves out is not lost


def test_suspects_are_kept_and_named(tmp_path: Path) -> None:
    rows = [pair(number) for number in range(9)]
    rows += [
        {
            "prompt": "비슷",
            "chosen": "민원은 다음 주 월요일 오전에 구청 이 층 창구에서 처리합니다.",
            "rejected": "민원은 다음 주 월요일 오전에 구청 삼 층 창구에서 처리합니다.",
        }
    ]
    pairs = built(tmp_path / "a.jsonl", rows)
    assert pairs.summary.suspects == {"near_duplicate": 1}
    opposite = [
        {"prompt": "q", "chosen": "가", "rejected": "나"},
        {"prompt": "q", "chosen": "나", "rejected": "가"},
    ]
    assert {line.suspect for line in built(tmp_path / "a.jsonl", opposite).lines} == {"swapped"}


def test_control_tokens_in_texts_are_counted_and_dropped_if_asked(tmp_path: Path) -> None:
    rows = [pair(number) for number in range(9)] + [{"prompt": "<end> 뭐야", **ANSWERS}]
    assert [line.control_tokens for line in built(tmp_path / "a.jsonl", rows).lines][-1] == 1
    assert reasons(built(tmp_path / "a.jsonl", rows, control_tokens="drop")) == {"control_tokens": 1}


def test_the_share_of_the_languages_letters_and_the_length_gap_are_measured(tmp_path: Path) -> None:
    rows = [
        {"prompt": "q", "chosen": "가나 ab", "rejected": "다라"},
        {"prompt": "r", "chosen": "abc", "rejected": "12 34"},
    ]
    pairs = built(tmp_path / "a.jsonl", rows)
    assert [line.language_share for line in pairs.lines] == [round(4 / 6, 4), 0.0]
    assert (pairs.summary.mean_length_gap, pairs.summary.chosen_longer_share) == (0.5, 0.5)


def test_the_ledger_is_a_parquet_file_of_all_lines(tmp_path: Path) -> None:
    pairs = built(tmp_path / "a.jsonl", [pair(number) for number in range(9)])
    ledger.write(tmp_path / "ledger.parquet", pairs.lines)
    rows = [row for _, row in files.read_parquet(tmp_path / "ledger.parquet")]
    assert [row["id"] for row in rows] == [line.id for line in pairs.lines]
    assert set(rows[0]) == set(ledger.COLUMNS)


def test_every_format_of_file_gives_the_same_pairs(tmp_path: Path) -> None:
    import csv

    import datasets
    import pyarrow
    import pyarrow.parquet

    rows = [pair(number) for number in range(20)]
    write(tmp_path / "a.jsonl", rows)
    (tmp_path / "a.json").write_text(json.dumps(rows), encoding="utf-8")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    with (tmp_path / "a.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "saved")
    datasets.DatasetDict({"train": datasets.Dataset.from_list(rows)}).save_to_disk(tmp_path / "split")
    found = [
        [text(one.triplet.prompt) for one in built(tmp_path / name).train]
        for name in ("a.jsonl", "a.json", "a.parquet", "a.csv", "saved", "split")
    ]
    assert all(prompts == found[0] for prompts in found)


def test_a_table_may_hold_blank_lines_and_names_each_column_once(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text("prompt,chosen,rejected\nq,a,b\n\nr,c,d\n\n", encoding="utf-8")
    assert [number for number, _ in files.read_csv(table)] == [2, 4]
    table.write_text("prompt,chosen,chosen\nq,a,b\n", encoding="utf-8")
    with pytest.raises(DataError, match="names column 'chosen' twice"):
        list(files.read_csv(table))


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        built(tmp_path / "none.jsonl")
    (tmp_path / "a.xlsx").write_text("x")
    with pytest.raises(DataError, match="kalign reads .jsonl"):
        built(tmp_path / "a.xlsx")
    with pytest.raises(ConfigError, match="did you mean ko"):
        build.build(Data(path="pack:kr"), Letters(), letters=KOREAN)
    with pytest.raises(ConfigError, match="data.path is not set"):
        build.build(Data(), Letters(), letters=KOREAN)
    write(tmp_path / "a.jsonl", [pair(1), {"prompt": "q", "chosen": "a"}])
    with pytest.raises(DataError, match=r"a.jsonl:2: there is no column 'rejected'"):
        built(tmp_path / "a.jsonl")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="no folder saved by datasets"):
        built(tmp_path / "folder")
    write(tmp_path / "a.jsonl", [pair(1)])
    with pytest.raises(DataError, match="no pair is left to hold out"):
        build.require_acceptable(built(tmp_path / "a.jsonl"), Data())


rows_of_any_kind = st.lists(
    st.fixed_dictionaries(
        {
            key: st.sampled_from(["", "가", "나", "다라", "가" * 80])
            for key in ("prompt", "chosen", "rejected")
        }
    ),
    min_size=1,
    max_size=30,
)


@given(rows_of_any_kind, st.sampled_from(["drop", "truncate"]), st.sampled_from([0.0, 0.3]))
@settings(deadline=None)
def test_whatever_the_rows_the_account_adds_up(
    rows: list[dict[str, str]], overflow: str, share: float
) -> None:
    path = Path("any.jsonl")
    pairs = built(path, rows, max_length=60, on_overflow=overflow, eval_share=share)
    assert adds_up(pairs)
    assert len(pairs.train) == pairs.summary.train
    assert len(pairs.held_out) == pairs.summary.eval
    for one in [*pairs.train, *pairs.held_out]:
        assert one.chosen_ids != one.rejected_ids
        assert len(one.prompt_ids) + max(len(one.chosen_ids), len(one.rejected_ids)) <= 60


@pytest.mark.skipif(not SHARED.is_dir(), reason="SQuARe lies in ../shared/data, which is not here")
def test_square_adds_up_to_its_published_counts() -> None:
    path = SHARED / "square/response_test_ood.json"
    pairs = build.build(Data(path=str(path), format="square"), Letters(), letters=KOREAN)
    facts = pairs.summary.facts
    assert (facts["responses"], facts["questions"], facts["questions with both labels"]) == (480, 254, 104)
    assert facts["responses in pairs"] + facts["responses without a partner"] == 480
    assert facts["responses without a partner"] == reasons(pairs)["one label only"]
    assert adds_up(pairs)
    source = {
        (row["question"], row["response"]): row["acceptable?"]
        for row in json.loads(path.read_text(encoding="utf-8"))
    }
    for one in [*pairs.train, *pairs.held_out]:
        question = one.triplet.prompt[0].content
        assert source[question, one.triplet.chosen[0].content] == 1
        assert source[question, one.triplet.rejected[0].content] == 0


def test_square_refuses_rows_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"question": "q", "response": "r", "acceptable?": 2}]))
    with pytest.raises(DataError, match="row 1 is none of SQuARe's"):
        build.build(Data(path=str(tmp_path / "a.json"), format="square"), Letters(), letters=KOREAN)


def test_a_packs_easy_pairs_are_added_where_they_are_asked_for_and_there(tmp_path: Path) -> None:
    alone, both = (sources.read(Source(path=path)) for path in ("pack:ko", "pack:ko+easy"))
    easy = len(list(files.read_jsonl(packs.easy_pairs("ko"))))
    assert (len(alone.rows), len(both.rows)) == (360, 360 + easy)
    assert alone.sha256 != both.sha256
    assert [row.number for row in both.rows] == list(range(1, len(both.rows) + 1))
    mine = start.new(str(tmp_path / "mine"))  # a new pack has none
    assert len(sources.read(Source(path=f"pack:{mine}+easy")).rows) == 4


def test_a_pack_without_pairs_is_refused_in_one_sentence(tmp_path: Path) -> None:
    mine = start.new(str(tmp_path / "mine"))
    (mine / "pairs.jsonl").unlink()
    with pytest.raises(DataError, match="pairs.jsonl does not exist"):
        sources.read(Source(path=f"pack:{mine}"))
