"""Lexicons with declared scales, medians over cues, and the tests between them."""

from pathlib import Path

import pytest

from kalign.associations import affect
from kalign.errors import ConfigError, DataError


def test_a_lexicon_is_brought_to_the_reported_scale(tmp_path: Path) -> None:
    path = tmp_path / "lexicon.tsv"
    path.write_text("词\tconcrete\tvalence\n铁匠\t1.63\t-3\n自由\t4.5\t1.5\n", encoding="utf-8")
    scales = dict(
        [affect.scale("concreteness=concrete:1:5:1:5:inverted"), affect.scale("valence=valence:-3:3:1:9")]
    )
    found = affect.lexicon(str(path), "词", scales)
    assert found["concreteness"]["铁匠"] == pytest.approx(6 - 1.63)
    assert found["valence"] == {"铁匠": 1.0, "自由": 7.0}


def test_a_lexicon_that_is_not_what_it_claims_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "lexicon.csv"
    path.write_text("Word,V\nsea,5\nland,11\n", encoding="utf-8")
    scales = dict([affect.scale("valence=V:1:9:1:9")])
    with pytest.raises(DataError, match=r"lexicon.csv:3: V is '11', not 1 to 9"):
        affect.lexicon(str(path), "Word", scales)
    with pytest.raises(DataError, match=r"lexicon.csv:1: there is no column word"):
        affect.lexicon(str(path), "word", scales)
    with pytest.raises(ConfigError, match="is no scale"):
        affect.scale("valence=V:1:9")


def test_medians_are_over_known_words_and_unknown_ones_stay_in_the_share() -> None:
    values = {"stone": 4.0, "tree": 5.0, "hope": 1.0}
    lists = [["stone", "tree", "hope"], ["unknown"], ["hope", "x"]]
    assert affect.medians(lists, values) == [4.0, None, 1.0]
    assert affect.concrete(lists, values) == {"concrete": 2 / 6, "abstract": 2 / 6, "unknown": 2 / 6}
    assert affect.coverage(lists, values) == {"tokens": 4 / 6, "types": 3 / 5}


def test_an_arm_that_came_closer_to_people_is_found_and_corrected_for_all_tests() -> None:
    values = {f"w{number}": float(number) for number in range(1, 60)}
    people = [[f"w{number}"] for number in range(1, 21)]
    base = [[f"w{number + 20}"] for number in range(1, 21)]
    tuned = [[f"w{number + number % 2}"] for number in range(1, 21)]
    found = affect.compared({"base": base, "sft": tuned}, people, {"valence": values})["valence"]
    assert found["human"]["mean_of_medians"] == pytest.approx(10.5)
    assert found["base"]["differs_from_human"]["holm"] < 0.01
    closer = found["sft"]["closer_than_base"]
    assert closer["p_value"] < closer["holm"] < 0.01
    assert affect.wilcoxon([1.0] * 12, [1.0] * 12) == 1.0
    assert affect.wilcoxon([1.0], [2.0]) is None
