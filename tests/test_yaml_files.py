from pathlib import Path

import pytest

from kalign import yaml_files
from kalign.errors import DataError


def read(tmp_path: Path, text: str | bytes) -> object:
    path = tmp_path / "a.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return yaml_files.read(path)


def test_plain_values_are_read_as_they_are_meant(tmp_path: Path) -> None:
    text = 'a: 1e-4\nb: 2026-11-25\nc: "112"\nd: [1, 2.5, true, null, -1.5E+3, .inf]\ne: &x {f: g}\nh: *x\n'
    assert read(tmp_path, text) == {
        "a": 0.0001,
        "b": "2026-11-25",
        "c": "112",
        "d": [1, 2.5, True, None, -1500.0, float("inf")],
        "e": {"f": "g"},
        "h": {"f": "g"},
    }
    assert read(tmp_path, b"\xef\xbb\xbfa: b") == {"a": "b"}
    assert read(tmp_path, "") is None


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)
REFUSED = {
    "a: 1\na: 2": "key 'a' stands twice",
    "a: {b: 1, b: 2}": "key 'b' stands twice",
    BOMB: "expands to more than 50000 values",
    "[" * 100_000: "levels deep",
    "a: &a [*a]": "names nothing that ends before it",
    "a: *b": "names nothing that ends before it",
    "a: !!python/object/apply:os.system [ls]": "is no YAML",
    "a: [": "is no YAML",
    "a: b\n---\nc: d": "is no YAML",
    "a: \x00": "is no YAML",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:20].encode("unicode_escape").decode())
def test_what_cannot_be_trusted_is_refused_with_its_reason(text: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        read(tmp_path, text)
    assert REFUSED[text] in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_missing_too_large_or_not_utf_8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        yaml_files.read(tmp_path / "none.yaml")
    with pytest.raises(DataError, match="0xff is not UTF-8"):
        read(tmp_path, b"a: \xff")
    with pytest.raises(DataError, match="may have 1048576 bytes at most"):
        read(tmp_path, "a: " + "b" * 1_100_000)
