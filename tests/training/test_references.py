"""The reference store: nothing is scored twice, nothing stale is found, nothing damaged is believed."""

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig

from kalign import files
from kalign.config import Loss, Recipe, compose
from kalign.errors import IntegrityError, ResourceError
from kalign.models import loading
from kalign.training import references
from kalign.training.references import Logps, Scorer, Store, identity
from kalign.training.references import attach as using
from kalign.training.references.fill import fill
from kalign.training.trainer import Epochs, PairTrainer, StepOrder
from tests.conftest import Result, history, only_run

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
Kalign = Callable[..., Result]


def rows(count: int = 24) -> list[dict[str, list[int]]]:
    chance = random.Random(5)
    sizes = {"prompt_ids": (1, 30), "chosen_ids": (1, 20), "rejected_ids": (1, 20)}
    return [
        {
            name: [chance.randrange(5, 400) for _ in range(chance.randint(*size))]
            for name, size in sizes.items()
        }
        for _ in range(count)
    ]


def trainer(small_model: Path, out: Path, *, share: bool = True, **options: Any) -> PairTrainer:
    order = StepOrder(20, pairs_per_step=4, seed=1)
    return PairTrainer(
        AutoModelForCausalLM.from_pretrained(small_model, dtype=torch.float32),
        args=DPOConfig(
            output_dir=str(out),
            **{
                "max_steps": 3,
                "per_device_train_batch_size": 2,
                "gradient_accumulation_steps": 2,
                "learning_rate": 1e-3,
                "bf16": False,
                "use_cpu": True,
                "gradient_checkpointing": False,
                "max_length": None,
                "report_to": "none",
                "save_strategy": "no",
                "logging_steps": 1,
                "disable_tqdm": True,
                **options,
            },
        ),
        train_dataset=Dataset.from_list(rows()[:20]),
        eval_dataset=Dataset.from_list(rows()[20:]),
        processing_class=AutoTokenizer.from_pretrained(small_model),
        peft_config=LoraConfig(r=4, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM"),
        callbacks=[Epochs(order)],
        order=order,
        share_prefix=share,
    )


def adopt(made: PairTrainer, store: Store, kept: Path, loss: Loss | None = None) -> references.Used:
    return references.use(made, store, kept=kept, loss=loss or Loss(), dtype="float32")


class References:
    """How often the base alone was asked."""

    def __init__(self, made: PairTrainer) -> None:
        self.calls = 0
        made.model.get_base_model().get_decoder().register_forward_pre_hook(self._look)
        self.layer = next(one for one in made.model.modules() if isinstance(one, BaseTunerLayer))

    def _look(self, *_: Any) -> None:
        self.calls += self.layer.disable_adapters


@pytest.mark.parametrize("share", [True, False], ids=["shared", "padded"])
def test_a_training_that_reads_the_store_is_the_one_that_asks_the_reference(
    share: bool, small_model: Path, tmp_path: Path
) -> None:
    online = trainer(small_model, tmp_path, share=share)
    asked = References(online)
    online.train()
    assert asked.calls == 6
    stored = trainer(small_model, tmp_path, share=share)
    used = adopt(stored, Store({"of": "share"}, where=tmp_path), tmp_path)
    assert (used.computed, used.reused, used.checked) == (24, 0, 0)
    quiet = References(stored)
    stored.train()
    assert quiet.calls == 0
    stored.evaluate(), online.evaluate()
    assert quiet.calls == 0
    for ours, theirs in zip(stored.state.log_history, online.state.log_history, strict=True):
        for key in ("loss", "rewards/margins", "eval_loss", "eval_rewards/margins", "grad_norm"):
            if key in theirs:
                assert ours[key] == pytest.approx(theirs[key], abs=1e-5), key


def test_canary_trl_reads_the_columns_and_not_its_own_reference(small_model: Path, tmp_path: Path) -> None:
    """If this fails, TRL no longer looks at `precompute_ref_logps`, or renamed the columns."""
    made = trainer(small_model, tmp_path)
    adopt(made, Store({"of": "canary"}, where=tmp_path), tmp_path)
    batch = made.data_collator([made.train_dataset[place] for place in range(4)])
    known = made.compute_loss(made.model, batch).item()
    batch["ref_chosen_logps"] = batch["ref_chosen_logps"] - 5.0
    assert made.compute_loss(made.model, batch).item() == pytest.approx(
        torch.nn.functional.softplus(torch.tensor(-0.5)).item(), abs=1e-5
    )
    assert known == pytest.approx(0.693147, abs=1e-5)


def test_one_filling_serves_every_weight_of_longer_answers(small_model: Path, tmp_path: Path) -> None:
    store = Store({"of": "ld_alpha"}, where=tmp_path)
    for ld_alpha, computed in ((None, 24), (0.0, 0), (0.5, 0)):
        made = trainer(small_model, tmp_path, ld_alpha=ld_alpha)
        assert adopt(made, store, tmp_path, Loss(ld_alpha=ld_alpha)).computed == computed
        batch = made.data_collator([made.train_dataset[place] for place in range(4)])
        stored = [batch.pop(name) for name in using.COLUMNS]
        for ours, theirs in zip(stored, made.compute_ref_log_probs(made.model, batch), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-4)


def test_a_filling_that_was_killed_goes_on_where_it_stopped(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(references.scoring.TOKENS_AT_ONCE, "cpu", 150)
    made = trainer(small_model, tmp_path)
    store = Store({"of": "killed"}, where=tmp_path)
    scorer = using.of_trainer(made)
    real, calls = Scorer.logps, []

    def dying(self: Scorer, pairs: Any) -> list[Logps]:
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(len(pairs))
        return real(self, pairs)

    monkeypatch.setattr(Scorer, "logps", dying)
    with pytest.raises(KeyboardInterrupt):
        fill(store, scorer, rows())
    monkeypatch.setattr(Scorer, "logps", real)
    assert 0 < sum(calls) < 24
    assert fill(store, scorer, rows()) == 24 - sum(calls)
    assert fill(store, scorer, [*rows(), *rows()]) == 0


def test_batches_are_of_like_length_and_within_their_budget(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(references.scoring.TOKENS_AT_ONCE, "cpu", 150)
    for share in (True, False):
        scorer = using.of_trainer(trainer(small_model, tmp_path, share=share))
        pairs = rows()
        batches = scorer.batches(pairs)
        assert sorted(place for batch in batches for place in batch) == list(range(24))
        lengths = [sum(map(len, pairs[place].values())) for batch in batches for place in batch]
        assert lengths == sorted(lengths, reverse=True)
        assert all(
            scorer.tokens([pairs[place] for place in batch]) <= 150 for batch in batches if len(batch) > 1
        )


def test_a_store_that_says_something_else_is_not_believed(small_model: Path, tmp_path: Path) -> None:
    store = Store({"of": "lies"}, where=tmp_path)
    first = adopt(trainer(small_model, tmp_path), store, tmp_path / "one")
    again = adopt(trainer(small_model, tmp_path), store, tmp_path / "two")
    assert (first.computed, again.computed, again.checked) == (24, 0, 16)
    known = store.read([references.store.key_of(pair) for pair in rows()])
    store.add({key: replace(one, chosen=one.chosen + numpy.float32(0.01)) for key, one in known.items()})
    with pytest.raises(IntegrityError, match="remove the file, and it is made again"):
        adopt(trainer(small_model, tmp_path), store, tmp_path / "three")


def test_a_run_keeps_the_numbers_that_it_began_with(small_model: Path, tmp_path: Path) -> None:
    store = Store({"of": "kept"}, where=tmp_path)
    made = trainer(small_model, tmp_path)
    adopt(made, store, tmp_path / "run")
    store.path.unlink()
    resumed = trainer(small_model, tmp_path)
    used = adopt(resumed, Store({"of": "kept"}, where=tmp_path), tmp_path / "run")
    assert (used.computed, used.checked) == (0, 16)
    assert resumed.train_dataset[:] == made.train_dataset[:]


def test_a_damaged_store_and_a_folder_that_cannot_be_written_are_said(tmp_path: Path) -> None:
    store = Store({"of": "damage"}, where=tmp_path)
    store.path.write_bytes(b"no database at all, but some bytes" * 40)
    with pytest.raises(IntegrityError, match="is damaged"):
        store.read(["key"])
    with pytest.raises(ResourceError, match="XDG_CACHE_HOME"):
        Store({"of": "nowhere"}, where=Path("/proc/none"))


@cache
def recipe_of(model: Path, *words: str) -> Recipe:
    return compose.load(["recipe=tiny", f"model.repo={model}", *words])


def made_from(
    model: Path, *words: str, template: str = "t", device: torch.device = CPU, **base: str
) -> dict[str, Any] | None:
    recipe = recipe_of(model, *words)
    located = loading.locate(recipe.model)
    known = {**loading.base_identity(located), **base}
    return identity(recipe, located, known, template_sha256=template, device=device)


def test_whatever_decides_a_log_prob_is_a_miss(small_model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(small_model, other)
    assert made_from(other) == made_from(small_model)  # the folder's name decides nothing
    text = (other / "config.json").read_text(encoding="utf-8")
    (other / "config.json").write_text(text.replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-05'))
    changed = [
        made_from(small_model),
        made_from(other),
        made_from(small_model, weights_sha256="x"),
        made_from(small_model, template="x"),
        made_from(small_model, device=torch.device("cuda")),
        *(
            made_from(small_model, word)
            for word in ("model.dtype=bfloat16", "model.attn_implementation=eager", "adapter=qlora")
        ),
    ]
    spelled = {json.dumps(one, sort_keys=True) for one in changed}
    assert len(spelled) == len(changed)


def test_whatever_does_not_decide_it_is_a_hit(small_model: Path) -> None:
    changed = [
        "trainer.learning_rate=1e-4",
        "trainer.seed=7",
        "trainer.num_train_epochs=3",
        "trainer.per_device_train_batch_size=4",
        "trainer.shared_prefix=false",
        "loss.beta=0.3",
        "loss.loss_type=ipo",
        "loss.ld_alpha=0.5",
        "adapter.r=64",
        "runs_dir=elsewhere",
        "name=other",
    ]
    assert made_from(small_model, *changed) == made_from(small_model)


def test_each_token_of_a_pair_is_in_its_key() -> None:
    pair = {"prompt_ids": [1, 2], "chosen_ids": [3], "rejected_ids": [4]}
    others = [
        {**pair, "prompt_ids": [1], "chosen_ids": [2, 3]},
        {**pair, "chosen_ids": [4], "rejected_ids": [3]},
        {**pair, "rejected_ids": [5]},
    ]
    keys = {references.store.key_of(one) for one in (pair, *others)}
    assert len(keys) == 4


def test_weights_without_an_identity_are_never_stored(small_model: Path) -> None:
    recipe = compose.load(["recipe=tiny"])
    located = loading.Located("owner/name", None, None)
    base = {"repo": "owner/name", "commit": None}
    assert identity(recipe, located, base, template_sha256="t", device=CPU) is None


@pytest.mark.slow
def test_a_sweep_scores_the_reference_once(
    kalign_here: Kalign, short: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # nothing that another test has scored
    refused = kalign_here("reference", *short, "method=sft")
    assert (refused.returncode, "reads no reference" in refused.stderr) == (2, True)
    ahead = kalign_here("reference", *short)
    assert ahead.returncode == 0, ahead.stderr[-2000:]
    assert "40 pairs scored, 0 reused" in ahead.stdout
    for number, change in enumerate(
        ["trainer.learning_rate=1e-4", "loss.beta=0.3", "trainer.seed=9", "adapter.r=4"]
    ):
        done = kalign_here("train", *short, change, "trainer.max_steps=1", f"runs_dir={number}")
        assert done.returncode == 0, done.stderr[-2000:]
        assert "0 pairs scored, 40 reused" in done.stdout
        assert history(only_run(Path(str(number))))[0]["loss"] == pytest.approx(0.693147, abs=1e-5)
    again = kalign_here("reference", *short, "--json")
    document = json.loads(again.stdout)
    assert (document["computed"], document["reused"]) == (0, 40)
    assert Path(document["path"]).exists() and files.sha256(Path(document["path"]))
