import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kalign import files
from kalign.errors import DataError


def read(path: Path, **options: bool) -> list[tuple[int, dict[str, object]]]:
    return list(files.read_jsonl(path, **options))


def saved(tmp_path: Path, raw: bytes, name: str = "rows.jsonl") -> Path:
    path = tmp_path / name
    path.write_bytes(raw)
    return path


def test_byte_order_mark_crlf_blank_lines_and_decomposed_hangul_are_read(tmp_path: Path) -> None:
    decomposed = "\u1112\u1161\u11ab"  # 한 in three letters
    raw = b"\xef\xbb\xbf" + f'{{"a": "{decomposed}"}}\r\n\r\n{{"a": "1"}}'.encode()
    assert read(saved(tmp_path, raw)) == [(1, {"a": "한"}), (3, {"a": "1"})]


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path: Path) -> None:
    raw = '{"a": "one\u2028two\u0085three"}\n'.encode()
    assert read(saved(tmp_path, raw)) == [(1, {"a": "one\u2028two\u0085three"})]


BAD_LINES = {
    b'{"a": 1': "no JSON at column",
    b'{"a": NaN}': "NaN is no JSON number",
    b'{"a": 1, "a": 2}': "'a' stands twice",
    b"[1]": "list where a JSON object should be",
    b'{"a": "\\ud800"}': "surrogate",
    b'{"a": ' + b"1" * 5000 + b"}": "digits",
    b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}": "nested too deeply",
    '{"a": "가"}'.encode("cp949"): "not UTF-8, byte 0xb0",
}


@pytest.mark.parametrize("line", BAD_LINES, ids=lambda line: line[:12].decode("latin-1"))
def test_a_malformed_line_is_named_by_its_number(line: bytes, tmp_path: Path) -> None:
    path = saved(tmp_path, b'{"a": 0}\n{"a": 0}\n' + line + b"\n")
    with pytest.raises(DataError) as refused:
        read(path)
    assert str(refused.value).startswith(f"{path}:3: ")
    assert BAD_LINES[line] in str(refused.value)


def test_one_huge_line_is_refused_without_being_read_whole(tmp_path: Path) -> None:
    path = saved(tmp_path, b'{"a": "' + b"x" * 5_000_000 + b'"}')
    with pytest.raises(DataError, match="longer than 4 MiB"):
        read(path)


def test_a_torn_last_line_is_left_out_of_our_own_files_only(tmp_path: Path) -> None:
    path = saved(tmp_path, b'{"a": 1}\n{"a": ')
    assert read(path, own=True) == [(1, {"a": 1})]
    with pytest.raises(DataError, match=":2: "):
        read(path)
    inside_a_letter = '{"a": 1}\n{"a": "가'.encode()[:-1]
    assert read(saved(tmp_path, inside_a_letter), own=True) == [(1, {"a": 1})]
    with pytest.raises(DataError, match=":1: "):  # only the last line can be torn
        read(saved(tmp_path, b'{"a": \n{"a": 1}\n'), own=True)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.csv", "rows.parquet"])
def test_missing_and_empty_files_are_refused(name: str, tmp_path: Path) -> None:
    reader = {
        ".jsonl": files.read_jsonl,
        ".json": files.read_json,
        ".csv": files.read_csv,
        ".parquet": files.read_parquet,
    }[Path(name).suffix]
    with pytest.raises(DataError, match="does not exist"):
        list(reader(tmp_path / "none"))
    with pytest.raises(DataError):
        list(reader(saved(tmp_path, b"", name)))


def test_a_json_file_is_a_list_of_objects(tmp_path: Path) -> None:
    assert list(files.read_json(saved(tmp_path, b'[{"a": 1}, {"a": 2}]', "a.json"))) == [
        (1, {"a": 1}),
        (2, {"a": 2}),
    ]
    for raw, said in (
        (b'{"a": 1}', "not a list"),
        (b"[1]", "row 1 is int"),
        (b'[{"a": 1},\n{"a": }]', "line 2"),
    ):
        with pytest.raises(DataError, match=said):
            list(files.read_json(saved(tmp_path, raw, "a.json")))


def test_csv_rows_may_hold_line_breaks_and_must_have_every_field(tmp_path: Path) -> None:
    raw = 'prompt,chosen\r\n"첫 줄\n둘째\u2028줄",좋아요\r\n'.encode()
    assert list(files.read_csv(saved(tmp_path, raw, "a.csv"))) == [
        (3, {"prompt": "첫 줄\n둘째\u2028줄", "chosen": "좋아요"})
    ]
    with pytest.raises(DataError, match=":2: 1 fields for 2 columns"):
        list(files.read_csv(saved(tmp_path, b"a,b\n1\n", "a.csv")))


def test_parquet_comes_back_as_it_was_written(tmp_path: Path) -> None:
    rows = [{"a": "한글", "b": [1, 2]}, {"a": None, "b": []}]
    files.write_parquet(
        tmp_path / "a.parquet",
        rows,
        {"a": "string", "b": __import__("pyarrow").list_(__import__("pyarrow").int32())},
    )
    assert [row for _, row in files.read_parquet(tmp_path / "a.parquet")] == rows


texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts, lambda inner: st.lists(inner), max_leaves=5
)


@given(st.lists(st.dictionaries(texts, values), min_size=1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_is_written_is_read_back_composed(tmp_path: Path, rows: list[dict[str, object]]) -> None:
    rows = [{files.nfc(key): files.nfc(value) for key, value in row.items()} for row in rows]
    files.write_jsonl(tmp_path / "rows.jsonl", rows)
    assert [row for _, row in read(tmp_path / "rows.jsonl")] == rows


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"a": 1})
    with pytest.raises(ValueError):
        files.write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [child.name for child in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_is_said_in_one_sentence_and_leaves_no_half_file(tmp_path: Path) -> None:
    code = (
        "import resource, signal, pathlib, sys\n"
        "from kalign import files\n"
        "from kalign.errors import ResourceError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "try:\n    files.write_json(pathlib.Path(sys.argv[1]), 'x' * 100000)\n"
        "except ResourceError as wrong:\n    print(wrong)\n"
    )
    assert resource.RLIMIT_FSIZE is not None
    said = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.json")], capture_output=True, text=True
    )
    assert said.stdout.startswith(f"no space left to write {tmp_path / 'a.json'}")
    assert list(tmp_path.iterdir()) == []


def test_the_hash_of_a_folder_changes_with_any_byte_and_any_name(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/one").write_text("1")
    first = files.sha256(tmp_path)
    (tmp_path / "a/one").write_text("2")
    second = files.sha256(tmp_path)
    (tmp_path / "a/one").rename(tmp_path / "a/two")
    assert len({first, second, files.sha256(tmp_path)}) == 3
