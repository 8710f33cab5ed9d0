"""A tagger whose errors are known, because they were planted: an audit finds them, and shares lose them."""

import csv
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from kalign import cli, files
from kalign.errors import DataError
from kalign.markers import audit, error_rates, tagging
from kalign.markers.error_rates import ErrorRates
from kalign.statistics import rogan_gladen
from tests.conftest import Result

Kalign = Callable[..., Result]
TRUTH = {"pretrain": 0.40, "sft": 0.20, "alignment": 0.05}
SENSITIVITY, SPECIFICITY = 0.80, 0.93
TEXTS = 4000


def tagged(folder: Path, stage: str, drawn: random.Random, texts: int = TEXTS) -> dict[str, bool]:
    """Write tags of texts with the planted errors, and say which texts are cultural in truth."""
    truth, rows = {}, []
    for number in range(texts):
        key = f"{stage}{number}"
        truth[key] = drawn.random() < TRUTH[stage]
        found = drawn.random() < (SENSITIVITY if truth[key] else 1 - SPECIFICITY)
        culture = [drawn.choice(["knowledge", "general", "general", "general"])] if found else []
        known = {"domain": "Culture", "task": "OpenEnded", "geo": [], "lang": "en", "status": "ok"}
        rows.append({"text_sha256": key, "row": number, "culture": culture, **known})
    columns = {name: tagging.SCHEMA.field(name).type for name in rows[0]}
    folder.mkdir(parents=True, exist_ok=True)
    files.write_parquet(folder / "tags.parquet", rows, columns)
    return truth


def sheet(path: Path, folder: Path, truth: dict[str, bool], *, each: int, drawn: random.Random) -> Path:
    """A filled-in sheet: as many texts of each class as `kalign audit draw` would take, and of none."""
    by_class: dict[str, list[str]] = {}
    for row in tagging.rows(folder):
        by_class.setdefault(audit.stratum(row["culture"]), []).append(row["text_sha256"])
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(audit.COLUMNS)
        for keys in by_class.values():
            for key in drawn.sample(keys, min(each, len(keys))):
                culture = "general" if truth[key] else "none"
                writer.writerow([0, key, "en", "", culture, "", "", ""])
    return path


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three tagged stages, a stages file, and a sheet of the first one."""
    folder = tmp_path_factory.mktemp("planted")
    drawn = random.Random(7)
    truth = {stage: tagged(folder / stage, stage, drawn) for stage in TRUTH}
    lines = [f"  {stage}: {{one: {{tags: {folder / stage}}}}}" for stage in TRUTH]
    (folder / "stages.yaml").write_text("\n".join(["stages:", *lines]), encoding="utf-8")
    sheet(folder / "one.csv", folder / "pretrain", truth["pretrain"], each=250, drawn=drawn)
    return folder


def test_corrected_shares_recover_what_was_planted(planted: Path) -> None:
    words = [
        f"stages={planted / 'stages.yaml'}",
        f"audit={planted / 'one.csv'}",
        f"tags={planted / 'pretrain'}",
    ]
    assert cli.run(["funnel", *words, f"out={planted / 'out'}"]) == 0
    told = json.loads((planted / "out/funnel.json").read_text(encoding="utf-8"))
    assert told["audit"]["sensitivity"] == pytest.approx(SENSITIVITY, abs=0.05)
    assert told["audit"]["specificity"] == pytest.approx(SPECIFICITY, abs=0.03)
    assert told["audit"]["rated"] == 750
    for stage in told["stages"]:
        truth = TRUTH[stage["stage"]]
        share, corrected = stage["share"], stage["corrected_share"]
        if stage["stage"] != "sft":  # there, false alarms happen to make up for what is missed
            assert not share["low"] <= truth <= share["high"]
        assert corrected["low"] <= truth <= corrected["high"]
        assert corrected["high"] - corrected["low"] > share["high"] - share["low"]
        assert stage["datasets"]["one"]["corrected_share"] == corrected
        kept = stage["corrected_retention"]
        assert kept["low"] <= truth / TRUTH["pretrain"] <= kept["high"]
    last = told["stages"][-1]
    assert last["retention"]["value"] > 0.25 > 0.125  # false alarms alone look like culture that is left
    assert abs(last["corrected_retention"]["value"] - 0.125) < 0.06
    page = (planted / "out/funnel.html").read_text(encoding="utf-8")
    assert "Without the tagger" in page
    assert "750 texts rated" in page


def test_the_intervals_hold_the_truth_as_often_as_they_say(tmp_path: Path) -> None:
    """A small audit, many times: the interval of the corrected share holds the truth in about 95 %."""
    held = 0
    repeats, texts = 50, 800
    for seed in range(repeats):
        drawn = random.Random(seed)
        folder = tmp_path / str(seed)
        truth = tagged(folder, "sft", drawn, texts)
        rates = error_rates.read([sheet(folder / "s.csv", folder, truth, each=80, drawn=drawn)], folder)
        cultural = sum(bool(row["culture"]) for row in tagging.rows(folder))
        share = rates.corrected(cultural, texts)
        assert share is not None
        held += share.low <= TRUTH["sft"] <= share.high
    assert held / repeats > 0.88


def test_the_correction_is_that_of_rogan_and_gladen() -> None:
    """By hand: 300 of 1000 are tagged, of which sensitivity .8 and specificity .9 leave (.3 - .1) / .7."""
    rates = ErrorRates(sensitivity=0.8, positives=100, specificity=0.9, negatives=100, rated=200, disputed=0)
    share = rates.corrected(300, 1000)
    assert share is not None
    assert share.value == pytest.approx(0.2 / 0.7)
    assert share == rogan_gladen(0.3, 1000, sensitivity=0.8, positives=100, specificity=0.9, negatives=100)
    assert rates.corrected(0, 0) is None
    assert rates.retention((0, 1000), (10, 1000)) is None


def test_ratings_count_as_many_texts_as_they_were_drawn_of(tmp_path: Path) -> None:
    """By hand: 10 of 100 tagged and 10 of 900 untagged texts are rated, and 9 and 1 found cultural. So 90 of
    180 cultural texts are tagged, and 810 of 820 others are not."""
    rows = [
        {"text_sha256": str(n), "row": n, "culture": ["general"] if n < 100 else []}
        | {"domain": "Culture", "task": "OpenEnded", "geo": [], "lang": "en", "status": "ok"}
        for n in range(1000)
    ]
    columns = {name: tagging.SCHEMA.field(name).type for name in rows[0]}
    files.write_parquet(tmp_path / "tags.parquet", rows, columns)
    rated = [*range(10), *range(100, 110)]
    cultural = {*range(9), 100}
    with (tmp_path / "s.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(audit.COLUMNS)
        for n in rated:
            writer.writerow([n, str(n), "en", "", "general" if n in cultural else "none", "", "", ""])
    with pytest.raises(DataError, match="and 10 of each are needed; have more texts rated"):
        error_rates.read([tmp_path / "s.csv"], tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(error_rates, "FEWEST", 1)
        rates = error_rates.read([tmp_path / "s.csv"], tmp_path)
    assert rates.sensitivity == pytest.approx(90 / 180)
    assert rates.specificity == pytest.approx(810 / 820)
    assert rates.positives == int(180**2 / (9 * 10**2 + 90**2))  # fewer than the 10 that were rated so


def test_an_audit_that_cannot_correct_anything_is_refused(planted: Path, kalign_here: Kalign) -> None:
    stages = f"stages={planted / 'stages.yaml'}"
    alone = kalign_here("funnel", stages, f"audit={planted / 'one.csv'}")
    assert (alone.returncode, "belong together; give both" in " ".join(alone.stderr.split())) == (2, True)
    with (planted / "one.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    with (planted / "wrong.csv").open("w", encoding="utf-8", newline="") as stream:
        turned = {"general": "none", "none": "general"}
        csv.writer(stream).writerows([rows[0], *[[*r[:4], turned[r[4]], *r[5:]] for r in rows[1:]]])
    wrong = kalign_here("funnel", stages, f"audit={planted / 'wrong.csv'}", f"tags={planted / 'pretrain'}")
    assert (wrong.returncode, "no better than chance" in wrong.stderr) == (3, True)
    other = kalign_here("funnel", stages, f"audit={planted / 'one.csv'}", f"tags={planted / 'sft'}")
    assert (other.returncode, "750 rated texts are not tagged in" in other.stderr) == (3, True)
