"""Survey distances with golden values, published defects, and a stub model whose answers are known."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from kalign.associations import distances, prompts, shift, survey
from kalign.associations.survey import Conversation, Item
from kalign.errors import DataError

S, T = (0.7, 0.2, 0.1), (0.1, 0.2, 0.7)


@pytest.mark.parametrize(
    ("one", "other", "js2", "js_e", "right", "published", "combo", "combo_published"),
    [
        (S, T, 0.604275, 0.503092, 0.6, 0.0, 0.602138, 0.302138),
        ((1, 0, 0, 0), (0, 0, 0, 1), 1.0, 0.832555, 1.0, 0.0, 1.0, 0.5),
        ((1, 0, 0), (0, 1, 0), 1.0, 0.832555, 0.5, 0.0, 0.75, 0.5),
        ((0.25,) * 4, (0.4, 0.3, 0.2, 0.1), 0.200503, 0.166930, 0.166667, 0.033333, 0.183585, 0.116918),
        (S, S, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    ],
)
def test_distances_have_their_golden_values(
    one: Sequence[float],
    other: Sequence[float],
    js2: float,
    js_e: float,
    right: float,
    published: float,
    combo: float,
    combo_published: float,
) -> None:
    close = {"abs": 1e-6}
    assert distances.js_distance(one, other) == pytest.approx(js2, **close)
    assert distances.js_distance(one, other, base=None) == pytest.approx(js_e, **close)
    assert distances.emd(one, other) == pytest.approx(right, **close)
    assert distances.emd(one, other, compat=True) == pytest.approx(published, **close)
    assert distances.combo(one, other) == pytest.approx(combo, **close)
    assert distances.combo(one, other, compat=True) == pytest.approx(combo_published, **close)


def test_a_place_between_two_cultures_has_its_golden_values() -> None:
    for shares, place in ((S, 0), (T, 1), ((0.4, 0.2, 0.4), 0.5), ((0.25, 0.5, 0.25), 0.5)):
        assert distances.axis(shares, S, T) == pytest.approx(place, abs=1e-12)
    assert distances.axis(S, T, T) is None


def test_the_published_code_sorts_options_by_their_spelling_and_cuts_vectors() -> None:
    eleven = [float(number) for number in range(1, 12)]
    assert distances.by_spelling(eleven) == [1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9]
    assert distances.cut(eleven, [1.0, 2.0, 3.0]) == ([1, 10, 11], [1, 2, 3])


def items(count: int = 60) -> list[Item]:
    """Ordinal items; the first 50 tell two countries apart, the rest hardly."""
    made = []
    for number in range(count):
        lean = 0.3 + 0.005 * number if number < 50 else 0.01
        low, high = (0.6 + lean / 2, 0.3, 0.1 - lean / 20), (0.1 - lean / 20, 0.3, 0.6 + lean / 2)
        if number >= 50:
            low, high = (0.3, 0.4, 0.3), (0.29, 0.4, 0.31)
        shares = {"S": survey.scaled(low), "T": survey.scaled(high)}
        options = tuple(f"{name} {number}" for name in ("never", "sometimes", "always"))
        made.append(Item(id=f"q{number}", question=f"How often {number}?", options=options, shares=shares))
    return made


class Stub:
    """A model that answers λT + (1-λ)S, whatever order the options stand in."""

    def __init__(self, asked: Sequence[Item], lean: float) -> None:
        self.known = {
            option: lean * item.shares["T"][place] + (1 - lean) * item.shares["S"][place]
            for item in asked
            for place, option in enumerate(item.options)
        }

    def __call__(self, conversations: Sequence[Conversation], replies: Sequence[str]) -> list[float]:
        return [math.log(self.known[reply]) for reply in replies]


def answer(asked: Sequence[Item], lean: float) -> list[tuple[float, ...]]:
    return survey.answered(asked, Stub(asked, lean), prompts.load("en"), count=3, seed=1)


@pytest.mark.parametrize("lean", [0.0, 0.3, 0.65, 1.0])
def test_a_model_between_two_cultures_is_found_exactly_there(lean: float) -> None:
    asked = items()
    place = shift.position(asked, answer(asked, lean), "S", "T")["axis"]
    assert place["value"] == pytest.approx(lean, abs=1e-12)
    assert place["low"] == pytest.approx(place["high"], abs=1e-9)


def test_the_items_of_high_tension_are_the_planted_ones() -> None:
    asked = items()
    found = shift.compared(asked, answer(asked, 0.2), answer(asked, 0.8), "S", "T")
    assert {int(name[1:]) for name in found["tension"]["ids"]} == set(range(50))
    assert found["tension"]["closer_to_target"] == {"base": 0, "tuned": 50}
    assert found["tension"]["p_value"] < 1e-9
    assert found["shift"]["low"] > 0
    published = shift.compared(asked, answer(asked, 0.2), answer(asked, 0.8), "S", "T", compat=True)
    assert published["shift"]["value"] < found["shift"]["value"]  # T is S reversed, which it calls equal


def test_options_are_shown_in_several_orders_and_no_more_than_exist() -> None:
    asked = items()[0]
    assert survey.orders(asked, 3, seed=1)[:2] == [[0, 1, 2], [2, 1, 0]]
    every = survey.orders(asked, 99, seed=1)
    assert len(every) == 6
    assert len({tuple(order) for order in every}) == 6


def test_surveys_of_three_kinds_are_read(tmp_path: Path) -> None:
    opinions = tmp_path / "opinions.jsonl"
    selections = "defaultdict(<class 'list'>, {'Korea': [0.2, 0.8], 'France': [3, 1]})"
    row = {"question": "Good?", "selections": selections, "options": "['Yes', 'No']", "source": "GAS"}
    opinions.write_text(json.dumps(row) + "\n", encoding="utf-8")
    [item] = survey.read(str(opinions))
    assert item.shares == {"Korea": (0.2, 0.8), "France": (0.75, 0.25)}
    assert not item.ordinal
    values = tmp_path / "wvs.json"
    scores = {str(number): number for number in range(10, 0, -1)}
    wvs = {"Id": "Q1", "question": "How much?", "choices": [str(n) for n in range(1, 11)], "us_score": scores}
    values.write_text(json.dumps([wvs]), encoding="utf-8")
    [item] = survey.read(str(values))
    assert item.shares["us"][9] == pytest.approx(10 / 55)
    generic = tmp_path / "own.jsonl"
    own = {
        "id": "a",
        "question": {"en": "Fair?"},
        "options": {"en": ["no", "yes", "?"]},
        "missing_codes": [3],
    }
    generic.write_text(json.dumps(own | {"dist": {"ko": [1, 3, 9]}}) + "\n", encoding="utf-8")
    [item] = survey.read(str(generic))
    assert (item.options, item.shares["ko"]) == (("no", "yes"), (0.25, 0.75))


def test_a_malformed_item_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    good = {"id": "a", "question": "Fair?", "options": ["no", "yes"], "dist": {"ko": [1, 3]}}
    for bad, said in (
        (good | {"dist": {"ko": [1, 2, 3]}}, "own.jsonl:2: item a: ko has 3 shares for 2 options"),
        ({key: value for key, value in good.items() if key != "dist"}, "own.jsonl:2: the item has no 'dist'"),
        (good | {"options": ["no", "no"]}, "own.jsonl:2: item a needs two different options"),
    ):
        path.write_text("\n".join(json.dumps(row) for row in (good, bad)) + "\n", encoding="utf-8")
        with pytest.raises(DataError, match=said):
            survey.read(str(path))
