import pytest

from kalign.config import words
from kalign.errors import ConfigError


def read(*given: str) -> dict[str, str | None]:
    return words.read(given, positional=["NAME", "OTHER"], settings={"as_of": None, "field": "text"})


def test_words_are_read_in_any_order_and_settings_have_defaults() -> None:
    expected = {"NAME": "a", "OTHER": "b", "as_of": None, "field": "said"}
    assert read("a", "field=said", "b") == read("field=said", "a", "b") == expected
    assert read("a", "b")["field"] == "text"


def test_a_path_with_an_equals_sign_is_a_word() -> None:
    assert read("runs/a=b", "./c=d")["OTHER"] == "./c=d"


REFUSED = {
    ("a",): "OTHER is missing; this command takes NAME OTHER [as_of=...] [field=...]",
    ("a", "b", "c"): "'c' is one word too many",
    ("a", "b", "feild=x"): "feild is no setting here; did you mean field?",
    ("a", "b", "zzz=x"): "this command takes NAME OTHER",
    ("a", "b", "field=x", "field=y"): "given twice, as x and as y",
}


@pytest.mark.parametrize("given", REFUSED)
def test_wrong_words_are_refused_with_what_the_command_takes(given: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as refused:
        read(*given)
    assert REFUSED[given] in str(refused.value)
