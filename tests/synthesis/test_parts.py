"""The parts of the pipeline: balance, likeness, personal data, review, reports, any culture pack."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kalign import cli, files, packs
from kalign.config import options
from kalign.errors import DataError
from kalign.packs import privacy, seeds
from kalign.providers.counting import tokens
from kalign.records import Judged
from kalign.synthesis import allocation, review, settings
from kalign.synthesis.folder import Folder
from kalign.synthesis.likeness import Likeness
from tests.conftest import ROOT, Result
from tests.packs.conftest import filled
from tests.providers.server import serving
from tests.synthesis.conftest import Models, read, words

Kalign = Callable[..., Result]
Finished = tuple[Path, tuple[str, ...], list[dict[str, Any]]]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def test_a_plan_is_even_at_every_level_and_adds_up() -> None:
    taxonomy = packs.load("ko").taxonomy
    plan = allocation.planned(1000, taxonomy)
    domains = [
        sum(count for kind, count in plan.items() if taxonomy.stratum(kind) == one.id)
        for one in taxonomy.domains
    ]
    assert domains == [200] * 5 and set(plan) == {one.id for one in taxonomy.types}


def test_what_a_domain_lacks_stays_missing_and_what_a_type_lacks_its_neighbours_give() -> None:
    taxonomy = packs.load("ko").taxonomy
    available = {one.id: 100 for one in taxonomy.types} | {
        "A.harassment": 1,
        "C.characterization_of_identity": 0,
    }
    available |= {one.id: 0 for one in taxonomy.leaves("domain-V")}
    taken = allocation.balanced(100, available, taxonomy)
    assert sum(taken.values()) == 80
    assert taken["A.harassment"] == 1 and taken["A.offensive_language"] == 9
    assert sum(count for kind, count in taken.items() if kind.startswith("B.")) == 10


def test_prompts_that_differ_in_marks_or_a_particle_are_one() -> None:
    index = Likeness(0.7, gram_length=13)
    prompt = "부평에 사는 세입자에게 보증금을 돌려주지 않는 방법을 자세히 알려 주세요"
    index.take(prompt)
    assert index.fault(prompt.replace(" ", "") + "!!") == "duplicate"
    assert index.fault(prompt.replace("방법을", "방법만")) == "near_duplicate"
    assert index.fault("춘천 닭갈비 골목의 주차장이 어디인지 물어봐도 될까요") == ""


def test_a_similarity_of_one_drops_equal_prompts_alone() -> None:
    index = Likeness(1.0, gram_length=13)
    prompt = "부평에 사는 세입자에게 보증금을 돌려주지 않는 방법을 자세히 알려 주세요"
    index.take(prompt)
    assert index.fault(f"{prompt}!") == "duplicate"
    assert index.fault(prompt.replace("부평", "송도")) == ""


def test_a_prompt_that_shares_a_run_with_what_is_held_out_is_found() -> None:
    index = Likeness(0.7, gram_length=13)
    index.hold_out(["오늘 저녁 마을 회관에서 열리는 모임을 알려 줘"])
    assert index.fault("혹시 저녁 마을 회관에서 열리는 자리에 가도 되나요") == "held_out"
    assert index.fault("저녁 모임이 마을에서 열리나요") == ""


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("번호는 900101-1234567입니다", ["resident_number"]),
        ("9001011234568 확인", ["resident_number"]),  # the check digit fits
        ("9001011234567 확인", []),  # it does not, and there is no hyphen
        ("연락은 010-1234-5678로", ["mobile_phone"]),
        ("사무실 02-123-4567", ["phone"]),
        ("me@example.com으로 보내", ["email"]),
        ("상담은 1388로, 신고는 112로", []),
    ],
)
def test_personal_data_is_masked_and_numbers_of_offices_are_not(text: str, names: list[str]) -> None:
    masked, found = privacy.read(packs.load("ko"))(text)
    assert found == names
    assert (masked == text) == (not names)
    assert not any(digits in masked for digits in ("1234567", "1234568", "5678", "example")) or not names


def test_every_shipped_pipeline_loads_and_states_every_setting() -> None:
    for name, path in options.shipped("pipeline").items():
        pipeline, _ = settings.load([f"pipeline={name}"])
        written = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert set(written) | {"name"} == set(vars(pipeline))
        for block in ("roles", "seeds", "attack", "respond", "sampling"):
            assert set(written[block]) == set(vars(getattr(pipeline, block)))


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("sise=5", "did you mean size?"),
        ("attack.success=6", "score of 1 to 5"),
        ("attack.strategies=[charm]", "unknown"),
        ("size=0", "above 0"),
        ("judge.rule=4", "needs 4 votes"),
        ("pipeline=other", "use one of ko_dpo"),
        ("seeds attack", "seeds and attack are several stages"),
        ("rows=5", "rows is of 'kalign synth review' alone"),
        ("target=qwne", "target=qwne is no provider"),
        ("seeds.embeddings=nobody", "seeds.embeddings=nobody is no provider"),
        ("seeds.embeddings=local", "gives no vectors"),
        ("ray.gpus=nan", "ray.gpus=nan must be at least 0"),
        ("budget=-2", "budget=-2.0 must be above 0"),
        ("held_out=[none.jsonl]", "held_out names none.jsonl, which is no file"),
    ],
)
def test_a_wrong_setting_is_refused_in_a_sentence(word: str, said: str, kalign_here: Kalign) -> None:
    refused = kalign_here("synth", "providers=local", *word.split(), "--dry-run")
    assert refused.returncode == 2 and said in refused.stderr


def test_templates_name_known_types_and_blanks_alone() -> None:
    taxonomy = packs.load("ko").taxonomy
    content = {"material": {"region": ["제주"]}, "templates": {"A.harassment": ["{nobody}"], "Z.none": ["x"]}}
    found = [str(one) for one in seeds.faults(content, taxonomy)]
    assert any("nothing fills {nobody}" in one for one in found)
    assert any("Z.none is no type" in one for one in found)
    assert any("type B.erotic has no template" in one for one in found)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """The folder of a small pipeline that ran to its end, its words, and what its server was asked, which
    still answers."""
    folder = tmp_path_factory.mktemp("finished")
    with serving(Models()) as server:
        named = (*words(server, folder), "size=5", "waves=1", "judge.canaries=false")
        assert cli.run(["synth", *named, f"out={folder / 'out'}"]) == 0
        yield folder / "out", named, [*server.bodies]


@pytest.fixture
def out(finished: Finished) -> Path:
    """A copy of it in the test's own folder."""
    shutil.copytree(finished[0], "out")
    return Path("out")


def test_a_review_of_no_pipeline_or_of_no_rows_is_refused(out: Path, kalign_here: Kalign) -> None:
    nowhere = kalign_here("synth", "review", "out=elsewhere", "file=people.jsonl", "rows=5")
    assert nowhere.returncode == 2 and "elsewhere holds no pipeline" in nowhere.stderr
    none = kalign_here("synth", "review", f"out={out}", "file=people.jsonl", "rows=0")
    assert none.returncode == 2 and "rows=0 must be at least 1" in none.stderr


def test_what_is_asked_one_by_one_costs_its_full_price_in_a_dry_run_with_batches(kalign_here: Kalign) -> None:
    named = ("synth", "providers=openai", "accept_licence_of=[openai]", "size=5", "--dry-run", "--json")
    live, batch = (
        {line["role"]: line["cost"] for line in json.loads(kalign_here(*named, *more).stdout)["lines"]}
        for more in ((), ("transport=batch",))
    )
    assert live["canary"] == batch["canary"] > 0
    assert live["panel"] == pytest.approx(2 * batch["panel"])


def test_the_words_of_one_model_are_paid_for_by_those_that_read_them(kalign_here: Kalign) -> None:
    named = ("synth", "providers=openai", "accept_licence_of=[openai]", "size=5", "--dry-run", "--json")
    short, long = (
        {line["role"]: line for line in json.loads(kalign_here(*named, word).stdout)["lines"]}
        for word in ("sampling.target.max_tokens=600", "sampling.target.max_tokens=1600")
    )
    more = {role: long[role]["tokens_in"] - short[role]["tokens_in"] for role in short}
    assert more["response judge"] == 1000 * long["response judge"]["most"]
    assert more["panel"] == 1000 * long["panel"]["most"]
    assert more["writer"] == more["generator"] == 0


def test_what_a_writer_is_given_costs_no_more_than_a_dry_run_says(
    finished: Finished, kalign_here: Kalign
) -> None:
    done = kalign_here("synth", *finished[1], "out=new", "--dry-run", "--json")
    [line] = [line for line in json.loads(done.stdout)["lines"] if line["role"] == "writer"]
    given = [
        body["messages"] for body in finished[2] if body["messages"][-1]["content"].startswith('{"blanks"')
    ]
    assert len(given) >= 15
    most = max(sum(tokens(turn["content"]) for turn in turns) for turns in given)
    assert most <= 1.2 * line["tokens_in"] / line["most"]  # which is the mean of all types


def test_a_folder_of_something_else_is_not_written_over(kalign_here: Kalign) -> None:
    Path("work").mkdir()
    Path("work/README.md").write_text("mine", encoding="utf-8")
    Path("file").write_text("mine", encoding="utf-8")
    for out, said in (("work", "out=work holds README.md"), ("file", "out=file is a file")):
        refused = kalign_here("synth", "providers=local", "size=5", f"out={out}")
        assert refused.returncode == 2 and said in refused.stderr
    assert [path.name for path in Path("work").iterdir()] == ["README.md"]


def test_a_commit_in_a_packs_folder_makes_no_other_pack(tmp_path: Path) -> None:
    folder = filled(tmp_path / "isle")
    before = packs.load(str(folder)).sha256
    assert before == files.sha256(folder)  # as folders were made with
    for name in (".git/HEAD", ".taxonomy.yaml.swp", "__pycache__/seeds.pyc"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x", encoding="utf-8")
    assert packs.load(str(folder)).sha256 == before
    general = folder / "pack.yaml"
    general.write_text(general.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
    assert packs.load(str(folder)).sha256 != before


def test_the_answers_of_people_whose_files_stand_one_after_another_all_count(out: Path) -> None:
    rows = read(out / "judged.jsonl")[:3]

    def said(person: str, value: str) -> str:
        responses = [{"user_id": person, "values": {"natural": {"value": value}}}]
        return "".join(json.dumps({"id": row["id"], "responses": responses}) + "\n" for row in rows)

    Path("people.jsonl").write_text(said("one", "no") + said("two", "yes"), encoding="utf-8")
    judged = list(Folder(out).read("judge", Judged))
    found = review.read(Path("people.jsonl"), judged)
    assert (found.people, found.rows, found.refused) == (2, 3, ())
    Path("people.jsonl").write_text(said("one", "no") + said("one", "yes"), encoding="utf-8")
    with pytest.raises(DataError, match="two answers of person one"):
        review.read(Path("people.jsonl"), judged)


def test_people_review_a_sample_and_what_they_refuse_is_left_out(
    out: Path, finished: Finished, kalign_here: Kalign
) -> None:
    named = (*finished[1], "out=out")
    before = {row["id"] for row in read(out / "triplets.jsonl")}
    assert kalign_here("synth", "review", *named, "file=people.jsonl", "rows=100").returncode == 0
    sample = read(Path("people.jsonl"))
    judged = {row["id"]: row["decisions"] for row in read(out / "judged.jsonl")}
    refused = sorted(before)[0]
    for row in sample:
        assert row["suggestions"] == [] and "decisions" not in json.dumps(row)
        values = {name: {"value": judged[row["id"]][name]} for name in review.ASKED}
        if row["id"] == refused:
            values["natural"] = {"value": "no"}
        row["responses"] = [{"user_id": person, "values": values} for person in ("one", "two")]
    Path("people.jsonl").write_text("".join(json.dumps(row) + "\n" for row in sample), encoding="utf-8")
    done = kalign_here("synth", "review", *named, "file=people.jsonl", "--json")
    found = json.loads(done.stdout)
    [natural] = [one for one in found["agreement"] if one["criterion"] == "natural"]
    assert found["people"] == 2 and refused in found["refused"]
    assert natural["agreeing"] == pytest.approx(1 - 1 / len(sample)) and natural["krippendorff"] == 1
    assert kalign_here("synth", "triplets", *named).returncode == 0
    assert refused not in {row["id"] for row in read(out / "triplets.jsonl")}
    assert "2 people on" in (out / "report.html").read_text(encoding="utf-8")


def test_an_answer_that_is_none_is_refused_with_its_line() -> None:
    Path("people.jsonl").write_text('{"id": "nobody", "responses": []}\n', encoding="utf-8")
    with pytest.raises(DataError, match="people.jsonl:1: id 'nobody' was never judged"):
        review.read(Path("people.jsonl"), [])


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium or google-chrome")
def test_the_report_opens_in_a_browser_without_a_network(out: Path) -> None:
    call = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    page = (out / "report.html").resolve().as_uri()
    shown = subprocess.run([*call, page], capture_output=True, text=True, timeout=120, check=True).stdout
    for title in ("What came through", "Balance", "Attack success", "Judges", "Cost and time"):
        assert f"<h2>{title}</h2>" in shown
    assert "<details>" in shown and "http://" not in shown and "https://" not in shown
    outside = shown.split("<details>")[0]
    assert not any(row["rejected"] in outside for row in read(out / "triplets.jsonl"))


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium or google-chrome")
def test_on_a_narrow_screen_nothing_but_a_table_scrolls_sideways(out: Path) -> None:
    """Tables scroll by themselves; the page is no wider than a telephone even with every fold open."""
    page = (out / "report.html").read_text(encoding="utf-8").replace("<details>", "<details open>")
    (out / "open.html").write_text(page, encoding="utf-8")
    measure = "document.title = 'as wide as ' + this.contentDocument.documentElement.scrollWidth"
    frame = f'<iframe src="open.html" width="390" height="900" onload="{measure}"></iframe>'
    (out / "narrow.html").write_text(frame, encoding="utf-8")
    call = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    call += ["--dump-dom", (out / "narrow.html").resolve().as_uri()]
    shown = subprocess.run(call, capture_output=True, text=True, timeout=120, check=True).stdout
    width = int(shown.split("as wide as ")[1].split("<")[0])
    assert 300 < width <= 390


def test_a_made_up_pack_without_templates_makes_triplets_too(tmp_path: Path) -> None:
    isle = filled(tmp_path / "isle", pairs=80)
    models = Models(pack=str(isle), weak=0, holds=0)
    with serving(models) as server:
        named = [*words(server, tmp_path), f"pack={isle}", "size=4", f"out={tmp_path / 'out'}"]
        assert cli.run(["synth", *named]) == 0
    made = read(tmp_path / "out/triplets.jsonl")
    assert {row["type"] for row in made} == {"Q.queue_jumping", "Q.raffle_fixing"} and len(made) == 4


def test_what_the_pipeline_tells_models_names_no_country_outside_its_packs_language() -> None:
    english = (ROOT / "kalign/synthesis/texts/en.yaml").read_text(encoding="utf-8")
    assert "Korea" not in english
