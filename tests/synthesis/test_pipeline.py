"""The whole pipeline over HTTP, against models that play back answers which we wrote."""

import json
import shutil
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kalign import cli, files, packs
from kalign.config.data import Data
from kalign.data import sources
from kalign.errors import DataError
from kalign.providers import Ledger
from kalign.records import Judged
from kalign.synthesis import work
from kalign.synthesis.folder import Folder
from kalign.synthesis.texts import NAMED
from tests.conftest import Result
from tests.providers.server import Reply, Server, fault, says, serving
from tests.synthesis.conftest import FAMILIES, Endpoint, Models, read, words

FINAL = ("seeds.jsonl", "attacks.jsonl", "responses.jsonl", "judged.jsonl", "triplets.jsonl", "README.md")
Kalign = Callable[..., Result]


@dataclass(frozen=True)
class Made:
    """One pipeline that ran to its end, and what it showed."""

    out: Path
    words: tuple[str, ...]
    requests: int
    said: str
    models: Models
    server: Server


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """Ten triplets, made once for all tests of this file that only look."""
    folder, models = tmp_path_factory.mktemp("synth"), Models()
    with serving(models) as server:
        named = (*words(server, folder), "size=10", f"out={folder / 'out'}")
        call = [sys.executable, "-m", "kalign", "synth", *named]
        done = subprocess.run(call, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        yield Made(folder / "out", named, server.requests, done.stdout + done.stderr, models, server)


def rows(made: Made, name: str = "triplets.jsonl") -> list[dict[str, Any]]:
    return read(made.out / name)


def test_as_many_triplets_come_out_as_were_asked_for_even_over_the_domains(made: Made) -> None:
    assert len(rows(made)) == 10
    assert set(Counter(row["domain"] for row in rows(made)).values()) == {2}
    assert len({row["prompt"] for row in rows(made)}) == 10


def test_every_row_is_kept_or_dropped_with_a_reason(made: Made) -> None:
    seeds, attacks, responses, judged = (rows(made, name) for name in FINAL[:4])
    assert len([row for row in seeds if not row["dropped"]]) == len(attacks)
    assert len([row for row in attacks if not row["dropped"]]) == len(responses)
    assert len([row for row in responses if not row["dropped"]]) == len(judged)
    assert {row["id"] for row in rows(made)} <= {row["id"] for row in judged if not row["dropped"]}


def test_a_rejected_answer_is_what_the_target_said_and_a_chosen_one_what_a_generator_said(made: Made) -> None:
    for row in rows(made):
        pair = made.models.pair(row["prompt"])
        assert row["rejected"] == pair["rejected"]
        assert row["chosen"].startswith(pair["chosen"])
        assert row["provenance"]["scores"]["harm"] >= 4


def test_every_text_says_where_it_comes_from(made: Made) -> None:
    for row in rows(made):
        known = row["provenance"]
        assert known["seed"]["model"] == known["prompt"]["model"] == known["rejected"]["model"] == "ga:ga-1"
        assert known["chosen"]["model"] in {"ga:ga-1", "gb:gb-1", "gc:gc-1"}
        for name in ("seed", "prompt", "rejected", "chosen"):
            assert len(known[name]["key"]) == len(known[name]["prompt_sha256"]) == 64
            assert known[name]["cost"] > 0
        assert {vote["judge"] for vote in known["votes"]} == {"ja:ja-1", "jb:jb-1", "jc:jc-1"}
        assert set(known["decisions"].values()) == {"yes"}
        assert row["target"] == "ga-1"


def test_equally_good_answers_come_from_every_generator(made: Made) -> None:
    judged = rows(made, "judged.jsonl")
    used = Counter(
        row["response"]["candidates"][row["response"]["winner"]]["origin"]["model"] for row in judged
    )
    assert len(used) == 3 and max(used.values()) - min(used.values()) <= len(judged) // 4


def test_whatever_is_written_is_for_the_user_alone(made: Made) -> None:
    for path in [made.out, *made.out.rglob("*")]:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_no_text_of_a_model_is_shown(made: Made) -> None:
    for row in rows(made):
        for name in ("prompt", "chosen", "rejected"):
            assert row[name] not in made.said
    assert "나" not in made.said  # no Korean at all


def test_the_parquet_file_holds_the_same_rows_and_is_read_as_training_data(made: Made) -> None:
    found = [row for _, row in files.read_parquet(made.out / "triplets.parquet")]
    assert [row["prompt"] for row in found] == [row["prompt"] for row in rows(made)]
    assert json.loads(found[0]["provenance"]) == rows(made)[0]["provenance"]
    data = Data(path=str(made.out / "triplets.parquet"))
    assert len(sources.read(data).rows) == 10


def test_nothing_is_like_what_is_held_out(made: Made) -> None:
    held_out = [row["prompt"] for _, row in files.read_jsonl(packs.held_out("ko"))]
    runs = {text[at : at + 13] for text in held_out for at in range(len(text) - 12)}
    for row in rows(made):
        assert not any(row["prompt"][at : at + 13] in runs for at in range(len(row["prompt"]) - 12))


def test_the_card_warns_counts_and_names_the_models(made: Made) -> None:
    card = (made.out / "README.md").read_text(encoding="utf-8")
    assert "10 preference triplets" in card and "holds harmful text on purpose" in card
    assert "| target | `ga:ga-1` | Apache-2.0 |" in card
    assert "No judge of the panel is of a generator's family." in card


def test_the_same_command_asks_nothing_again_and_writes_the_same_bytes(
    made: Made, kalign_here: Kalign, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the size of the blocks that are held at a time."""
    monkeypatch.setattr(work, "BLOCK", 7)
    before = {name: (made.out / name).read_bytes() for name in (*FINAL, "triplets.parquet")}
    asked = made.server.requests
    assert kalign_here("synth", *made.words, "--offline").returncode == 0
    assert made.server.requests == asked
    assert {name: (made.out / name).read_bytes() for name in before} == before


def test_25_other_settings_are_refused_in_the_same_folder(made: Made, kalign_here: Kalign) -> None:
    refused = kalign_here("synth", *made.words, "attack.tries=3")
    assert refused.returncode == 4
    assert "attack.tries was 5, is 3" in refused.stderr


def test_a_dry_run_sends_nothing_and_bounds_what_is_asked(
    made: Made, tmp_path: Path, kalign_here: Kalign
) -> None:
    asked = made.server.requests
    done = kalign_here("synth", *made.words[:-1], f"out={tmp_path / 'new'}", "--dry-run", "--json")
    assert done.returncode == 0 and made.server.requests == asked and not (tmp_path / "new").exists()
    lines = json.loads(done.stdout)["lines"]
    state = json.loads((made.out / "state.json").read_text(encoding="utf-8"))
    waves = len(json.loads((made.out / "plan.json").read_text(encoding="utf-8")))
    for noted in state.values():
        for key, one in noted.get("account", {}).items():
            [line] = [line for line in lines if f"{line['role']}|{line['model']}" == key]
            assert one["calls"] <= line["most"] * waves
            assert one["tokens_in"] <= line["tokens_in"] * waves


def test_shards_together_are_the_whole(made: Made, endpoint: Endpoint, tmp_path: Path) -> None:
    named = (*endpoint.words, "size=10", f"out={tmp_path / 'out'}")
    for which in (0, 1):
        assert cli.run(["synth", *named, "--shard", f"{which}/2"]) == 0
    parts = [read(path) for path in (tmp_path / "out/shards").glob("*/seeds.jsonl")]
    assert len(parts) == 2 and all(parts)
    asked = endpoint.server.requests
    assert cli.run(["synth", *named]) == 0
    assert endpoint.server.requests - asked < asked / 2  # ties and further waves alone
    assert (tmp_path / "out/triplets.jsonl").read_bytes() == (made.out / "triplets.jsonl").read_bytes()


def stages(endpoint: Endpoint, out: Path, *more: str) -> list[str]:
    return ["synth", *endpoint.words, "size=5", "waves=1", "judge.canaries=false", f"out={out}", *more]


def test_each_stage_is_a_command_that_needs_the_one_before(endpoint: Endpoint, kalign_here: Kalign) -> None:
    out = Path("out")
    missing = kalign_here(*stages(endpoint, out, "attack"))
    assert missing.returncode == 2 and "run 'kalign synth seeds' first" in missing.stderr
    for stage, name in zip(("seeds", "attack", "respond", "judge", "triplets"), FINAL, strict=False):
        done = kalign_here(*stages(endpoint, out, stage))
        assert done.returncode == 0, done.stderr
        assert (out / name).is_file()
    wrong = kalign_here(*stages(endpoint, out, "atack"))
    assert wrong.returncode == 2 and "did you mean attack" in wrong.stderr


def test_a_file_of_the_users_own_takes_the_place_of_a_stage(endpoint: Endpoint, kalign_here: Kalign) -> None:
    out = Path("out")
    out.mkdir()
    pairs = [pair for pair in endpoint.models.pairs if pair["category"] in "AB"][:6]
    own = [
        {"id": pair["id"], "category": pair["category"], "type": f"{pair['category']}.{pair['type']}"}
        | {"prompt": pair["prompt"]}
        for pair in pairs
    ]
    files.write_jsonl(out / "seeds.jsonl", own)
    done = kalign_here(*stages(endpoint, out))
    assert done.returncode == 0, done.stderr
    assert "The file of seeds is your own" in done.stdout
    assert {row["id"] for row in read(out / "triplets.jsonl")} <= {row["id"] for row in own}
    assert read(out / "seeds.jsonl") == own
    assert "Missing" in done.stdout
    refused = kalign_here(*stages(endpoint, out, "seeds"))
    assert refused.returncode == 2 and "not what kalign wrote" in refused.stderr


@pytest.mark.parametrize("wrong", [{"type": "Z.none"}, {"category": "ZZ"}, {"type": "B.erotic"}])
def test_a_row_of_ones_own_that_the_pack_does_not_know_is_refused_before_it_is_paid_for(
    wrong: dict[str, str], endpoint: Endpoint, kalign_here: Kalign
) -> None:
    row = {"id": "mine", "category": "A", "type": "A.harassment", "prompt": "어떻게 하면 될까요?"} | wrong
    Path("out").mkdir()
    files.write_jsonl(Path("out/seeds.jsonl"), [row])
    refused = kalign_here(*stages(endpoint, Path("out")))
    assert refused.returncode == 3 and "id mine is of category" in refused.stderr
    assert endpoint.server.requests == 0


def test_files_of_a_folder_that_are_damaged_are_named(made: Made, kalign_here: Kalign) -> None:
    for name, content in (
        ("plan.json", "{"),
        ("plan.json", '[{"Z.none": 3}]'),
        ("state.json", "[1]"),
        ("review.json", "[]"),
    ):
        shutil.copytree(made.out, "out", dirs_exist_ok=True)
        Path("out", name).write_text(content, encoding="utf-8")
        refused = kalign_here("synth", *made.words[:-1], "out=out")
        assert refused.returncode == 3 and f"out/{name} is " in refused.stderr
        Path("out", name).unlink()


def test_a_second_process_changes_nothing_in_a_folder_where_one_works(
    made: Made, kalign_here: Kalign
) -> None:
    shutil.copytree(made.out, "out")
    noted = [Path("out", name) for name in ("pipeline.json", "plan.json")]
    before = [path.read_bytes() for path in noted]
    with Ledger("out/ledger.sqlite"):
        refused = kalign_here("synth", *made.words[:-2], "size=5", "out=out", "--accept-change", "size")
    assert refused.returncode == 2 and "is written by process" in refused.stderr
    assert [path.read_bytes() for path in noted] == before


def test_a_winner_that_is_no_candidate_is_named_with_its_line(made: Made) -> None:
    row = next(row for row in rows(made, "judged.jsonl") if not row["dropped"])
    row["response"]["winner"] = 99
    Path("out").mkdir()
    files.write_jsonl(Path("out/judged.jsonl"), [row])
    with pytest.raises(DataError, match="judged.jsonl:1, response: winner 99 is none of 3 candidates"):
        list(Folder(Path("out")).read("judge", Judged))


ALL_YES = dict.fromkeys(NAMED["filter_questions"], "yes")


def failing(reply: Reply) -> Callable[[Any], Reply]:
    return lambda data: reply


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (says(None, finish="content_filter"), "blocked"),
        (says(None, refusal="판정할 수 없습니다."), "refused"),
        (says('{"nonce": "0', finish="length"), "truncated"),
        (says("안전합니다."), "unreadable"),
        (says(json.dumps({"nonce": "000000000000", "reason": "x", "verdicts": ALL_YES})), "unreadable"),
    ],
)
def test_26_a_vote_that_says_nothing_makes_no_triplet_and_fails_the_run(
    reply: Reply, kind: str, made: Made, tmp_path: Path, kalign_here: Kalign
) -> None:
    """One judge of three says nothing; the other answers come from the ledger of the run that went well."""
    out = tmp_path / "out"
    out.mkdir()
    for name in ("responses.jsonl", "pipeline.json", "state.json", "plan.json"):
        (out / name).write_bytes((made.out / name).read_bytes())
    made.models.judged["jb-1"] = failing(reply)
    try:
        done = kalign_here("synth", "judge", *made.words[:-1], f"out={out}")
        assert done.returncode == 0, done.stderr
        short = kalign_here("synth", "triplets", *made.words[:-1], f"out={out}")
    finally:
        del made.models.judged["jb-1"]
    assert short.returncode == 3 and "jb:jb-1 validly answered 0.0%" in short.stderr
    for row in read(out / "judged.jsonl"):
        assert [vote["kind"] for vote in row["votes"]] == ["valid", kind, "valid"]
        assert row["dropped"].startswith(("undecided_", "not_"))
    assert kind in (out / "report.html").read_text(encoding="utf-8")
    assert not (out / "triplets.parquet").exists()


def test_15_a_judge_that_is_not_there_leaves_the_rest_for_the_next_run(
    endpoint: Endpoint, kalign_here: Kalign
) -> None:
    endpoint.models.judged["jc-1"] = failing(fault(429, headers={"retry-after": "3600"}))
    out = Path("out")
    waiting = kalign_here(*stages(endpoint, out))
    assert waiting.returncode == 75, waiting.stderr
    assert not (out / "judged.jsonl").exists()
    del endpoint.models.judged["jc-1"]
    assert kalign_here(*stages(endpoint, out)).returncode == 0
    assert read(out / "triplets.jsonl")


def test_words_of_models_that_may_train_no_others_are_refused_before_anything_is_asked(
    endpoint: Endpoint, kalign_here: Kalign
) -> None:
    for words_, named in (
        (("providers=openai",), "openai:gpt-4.1 is the writer"),
        ((*endpoint.words, "target=exaone"), "EXAONE"),
        (("providers=openrouter",), "not known to allow"),
    ):
        refused = kalign_here("synth", *words_, "size=5", "--dry-run")
        assert refused.returncode == 2 and named in refused.stderr
        assert "accept_licence_of=[" in refused.stderr
    accepted = kalign_here("synth", "providers=openai", "accept_licence_of=[openai]", "size=5", "--dry-run")
    assert accepted.returncode == 0 and "judge what they wrote themselves" in accepted.stdout
    assert endpoint.server.requests == 0


@pytest.mark.parametrize(
    "model",
    ["LGAI-EXAONE/EXAONE-3.5-7.8B-Instruct", "exaone-3.5-2.4b-instruct", "me/EXAONE-tuned"],
)
def test_a_licence_that_a_providers_file_claims_does_not_replace_the_one_that_is_known(
    model: str, endpoint: Endpoint, tmp_path: Path, kalign_here: Kalign
) -> None:
    claimed = tmp_path / "claimed.yaml"
    address = f"http://127.0.0.1:{endpoint.server.port}/v1"
    claimed.write_text(
        f"base_url: {address}\nmodel: {model}\nfamily: x\nlicence: {{name: Apache-2.0}}\n", encoding="utf-8"
    )
    refused = kalign_here("synth", *endpoint.words, f"target={claimed}", "size=5", "--dry-run")
    assert refused.returncode == 2 and "forbids (EXAONE" in refused.stderr
    accepted = ("accept_licence_of=[claimed]", "size=5", "--dry-run")
    assert kalign_here("synth", *endpoint.words, f"target={claimed}", *accepted).returncode == 0


def test_the_families_of_a_pool_are_shared_between_writing_and_judging(endpoint: Endpoint) -> None:
    from kalign.synthesis import cast, settings

    pipeline, panel = settings.load(endpoint.words)
    played = cast.cast(pipeline, panel)
    assert [one.kin for one in played.generators] == list(FAMILIES[:3])
    assert [one.kin for one in played.panel] == list(FAMILIES[3:]) and not played.kin


@pytest.mark.slow
def test_triplets_train_a_model(made: Made, short: list[str], kalign: Kalign) -> None:
    given = [word for word in short if not word.startswith(("data.path", "trainer.max_steps"))]
    path = made.out / "triplets.parquet"
    done = kalign(
        "train", *given, "data=synth", f"data.path={path}", "trainer.max_steps=1", "data.max_length=512"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_tiny_model_behind_a_real_server_plays_every_role_and_its_shortfall_is_told(
    made: Made, tmp_path: Path, kalign: Kalign
) -> None:
    """It writes no JSON, so that nothing comes of it; every loss has a reason."""
    out = tmp_path / "out"
    out.mkdir()
    own = [
        {key: row[key] for key in ("id", "category", "type", "prompt")}
        for row in rows(made, "seeds.jsonl")[:2]
    ]
    files.write_jsonl(out / "seeds.jsonl", own)
    roles = ("attacker", "target", "judge")
    small = [*(f"sampling.{role}.max_tokens=8" for role in roles), "judge.canaries=false"]
    done = kalign("synth", "providers=local", "size=2", "waves=1", "attack.tries=2", *small, f"out={out}")
    assert done.returncode == 3 and "no triplet came out of it" in done.stderr
    assert "attack: 0 of 2 kept" in done.stderr
    tries = [one for row in read(out / "attacks.jsonl") for one in row["tries"]]
    assert len(tries) == 4 and {one["outcome"] for one in tries} <= {
        "attacker_unreadable",
        "attacker_truncated",
    }
    assert "0 of 2 triplets" in (out / "report.html").read_text(encoding="utf-8")
