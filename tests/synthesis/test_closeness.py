"""Seeds that mean the same are dropped by vectors of an endpoint, which are answers like any others."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import yaml

from kalign import files, packs
from kalign.errors import DataError
from kalign.synthesis.closeness import Index
from tests.packs.conftest import filled
from tests.providers.server import Body, Reply, fault, says, serving
from tests.synthesis.conftest import Models, read, words
from tests.synthesis.test_faults import Kalign

# Four ways to ask for two things, and one to ask for what is held out; no two share a run of letters
ASKED = (
    "How do I slip in ahead of everybody at the ferry",
    "Which trick gets me past others who stand waiting by a boat",
    "Make my ticket win whatever they draw tonight",
    "I want the lottery rigged so that mine comes out first",
    "Something that stands in the held-out file, said otherwise",
)
TOPICS = (0, 0, 1, 1, 2)


def vector(text: str, pack: Path) -> list[float]:
    """Close to the axis of what a text is about: the same for texts that mean the same."""
    [(_, first), *_] = files.read_jsonl(packs.held_out(str(pack)))
    topic = (
        2 if text == first["prompt"] else TOPICS[ASKED.index(text)] if text in ASKED else 3 + len(text) % 20
    )
    found = [0.01] * 32
    found[topic] = 2.0 + len(text) / 100
    return found


def embedded(numbers: object, model: str | None = None) -> Reply:
    content = {"object": "list", "model": model, "data": [{"index": 0, "embedding": numbers}]}
    return Reply(body=json.dumps(content | {"usage": {"prompt_tokens": 7, "total_tokens": 7}}).encode())


class Answering:
    """Models of which the writer gives ASKED in turn, and an endpoint of vectors."""

    def __init__(self, pack: Path, vectors: Callable[[Body], Reply] | None = None) -> None:
        self.models, self.pack = Models(pack=str(pack)), pack
        self.vectors = vectors or (lambda body: embedded(vector(body["input"], pack)))
        self.written: dict[str, int] = {}
        self.embedded: Counter[str] = Counter()

    def __call__(self, body: Body, number: int) -> Reply:
        if "input" in body:
            self.embedded[body["input"]] += 1
            return self.vectors(body)
        place = json.loads(body["messages"][-1]["content"])["variation"]
        kind = json.loads(body["messages"][-1]["content"])["type"]
        turn = self.written.setdefault(f"{kind} {place}", len(self.written))
        return says(json.dumps({"prompt": ASKED[turn % len(ASKED)]}))


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("close") / "isle", pairs=40)


def asked(port: int, folder: Path, pack: Path, *more: str) -> list[str]:
    path = folder / "vectors.yaml"
    settings = {"base_url": f"http://127.0.0.1:{port}/v1", "model": "vectors-1", "family": "vectors"}
    settings |= {"price_in": 1.0, "price_out": 0.0, "backoff": 0.01, "batch": "openai"}
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    common = (f"pack={pack}", "size=2", "waves=1", f"out={folder / 'out'}", "seeds.check_category=false")
    return ["synth", "seeds", *common, "seeds.most_held_out=1", f"seeds.embeddings={path}", *more]


def test_seeds_that_mean_the_same_or_what_is_held_out_are_dropped_and_each_text_is_asked_once(
    pack: Path, tmp_path: Path, kalign_here: Kalign
) -> None:
    answering = Answering(pack)
    with serving(answering) as server:
        # One request at a time, so that the writer's turns are those of the seeds
        calm = words(server, tmp_path, changed={"max_concurrency": 1})
        named = [*asked(server.port, tmp_path, pack), *calm]
        done = kalign_here(*named)
        assert done.returncode == 0, done.stderr
        found = {row["prompt"]: row["dropped"] for row in reversed(read(tmp_path / "out/seeds.jsonl"))}
        assert [found[text] for text in ASKED] == ["", "close", "", "close", "held_out"]
        assert set(answering.embedded.values()) == {1}
        before, requests = (tmp_path / "out/seeds.jsonl").read_bytes(), server.requests
        (tmp_path / "out/seeds.jsonl").unlink()
        assert kalign_here(*named, "--offline").returncode == 0
        assert (tmp_path / "out/seeds.jsonl").read_bytes() == before and server.requests == requests
        lines = json.loads(kalign_here(*named, "--dry-run", "--json").stdout)["lines"]
        [line] = [line for line in lines if line["role"] == "embedder"]
        assert line["model"] == "vectors:vectors-1" and line["tokens_out"] == 0
        assert line["most"] >= sum(answering.embedded.values())


@pytest.mark.parametrize(
    ("reply", "code", "said"),
    [
        (embedded([], "vectors-1"), 0, ""),
        (embedded([0.0, 0.0], "vectors-1"), 0, ""),
        (embedded("AAAA", "vectors-1"), 0, ""),
        (embedded([1.0], "another-2"), 5, "another-2 answered in place of vectors-1"),
        (fault(401), 5, "wants a key"),
        (fault(429, headers={"retry-after": "3600"}), 75, "asks to wait 3600 s"),
    ],
    ids=["empty", "zeros", "text", "another model", "no key", "later"],
)
def test_what_is_no_vector_is_never_close_and_every_fault_has_its_code(
    reply: Reply, code: int, said: str, pack: Path, tmp_path: Path, kalign_here: Kalign
) -> None:
    with serving(Answering(pack, lambda body: reply)) as server:
        done = kalign_here(*asked(server.port, tmp_path, pack), *words(server, tmp_path))
    assert done.returncode == code and said in done.stderr
    if code == 0:
        dropped = {row["dropped"] for row in read(tmp_path / "out/seeds.jsonl")}
        assert dropped == {"embedding_empty", "duplicate"}


def test_vectors_are_asked_one_by_one_where_other_answers_come_in_batches(
    pack: Path, tmp_path: Path, kalign_here: Kalign
) -> None:
    """The provider of vectors says that it has a batch API; no batch is made of its requests."""
    answering = Answering(pack)
    with serving(answering) as server:
        named = asked(server.port, tmp_path, pack, *words(server, tmp_path), "transport=batch")
        assert kalign_here(*named).returncode == 0
    assert answering.embedded


def test_without_a_model_of_vectors_none_is_asked(pack: Path, tmp_path: Path, kalign_here: Kalign) -> None:
    answering = Answering(pack)
    with serving(answering) as server:
        named = asked(server.port, tmp_path, pack, *words(server, tmp_path), "seeds.embeddings=null")
        assert kalign_here(*named).returncode == 0
    assert not answering.embedded
    wrong = kalign_here(*named, "seeds.embedding_similarity=2")
    assert wrong.returncode == 2 and "is a cosine" in wrong.stderr


def test_an_index_grows_and_finds_the_nearest() -> None:
    index = Index()
    rows = numpy.eye(200, dtype=numpy.float32)
    assert index.nearest(rows[0]) == -1
    for row in rows[:150]:
        index.add(row)
    assert index.nearest(rows[149]) == 1 and index.nearest(rows[150]) == 0
    with pytest.raises(DataError, match="vectors of 200 and of 3 numbers"):
        index.nearest(rows[0, :3])
