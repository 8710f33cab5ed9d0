"""Checkpointing that is no more than memory needs: it changes which layers run twice, and no number."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.modeling_layers import GradientCheckpointingLayer

from kalign.config import compose
from kalign.errors import ConfigError
from kalign.training import checkpointing, ranks
from kalign.training.planning import memory
from kalign.training.planning.memory import GIB
from kalign.training.trainer import PairTrainer
from tests.conftest import Result, only_run
from tests.training.planning.test_plan import LOAD
from tests.training.shared_prefix import twins

pytestmark = pytest.mark.usefixtures("one_thread")

Kalign = Callable[..., Result]


class Runs:
    """How often each decoder layer of a trainer's model runs with gradients on."""

    def __init__(self, made: PairTrainer) -> None:
        decoder = made.model.get_base_model().get_decoder()
        layers = [one for one in decoder.modules() if isinstance(one, GradientCheckpointingLayer)]
        self.counts = [0] * len(layers)
        for number, layer in enumerate(layers):
            layer.self_attn.register_forward_pre_hook(lambda *_, n=number: self.count(n))

    def count(self, number: int) -> None:
        self.counts[number] += torch.is_grad_enabled()


def trained(out: Path, every: int) -> tuple[list[int], dict[str, torch.Tensor]]:
    """Two steps with the reference asked online, dropout on."""
    made = twins.trainer(
        twins.model_of("qwen3"), out, share=True, checkpointing=every > 0, max_steps=2, disable_dropout=False
    )
    for module in made.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.3
    made.checkpoint_every = every
    runs = Runs(made)
    torch.manual_seed(5)
    made.train()
    return runs.counts, {n: w.detach() for n, w in made.model.named_parameters() if w.requires_grad}


def test_one_layer_of_two_is_run_twice_in_every_step_and_no_bit_changes(tmp_path: Path) -> None:
    """TRL's reference pass would mark every layer again after the first loss."""
    plain, kept = trained(tmp_path, 0)
    assert plain == [4, 4]  # two micro-batches in each of two steps
    for every, counts in ((2, [8, 4]), (1, [8, 8])):
        runs, weights = trained(tmp_path, every)
        assert runs == counts
        assert all(torch.equal(weights[name], weight) for name, weight in kept.items())


def test_as_few_layers_as_fit_are_recomputed() -> None:
    needs = {every: memory.total(memory.recomputing(LOAD, every)) for every in memory.CHECKPOINTED}
    assert list(needs.values()) == sorted(needs.values(), reverse=True)
    for every, bytes_needed in needs.items():
        found = memory.least_recomputed(LOAD, bytes_needed)
        assert (found.checkpoint_every if found.gradient_checkpointing else 0) == every
    assert memory.least_recomputed(LOAD, 0) == memory.recomputing(LOAD, 1)


def test_a_layer_of_two_keeps_what_arithmetic_by_hand_says() -> None:
    layer = memory.layer_bytes_per_token(LOAD, trained=True)
    half = memory.activation_bytes(memory.recomputing(LOAD, 2))
    assert half == 400 * (3 * 2 * 32 + 2 * layer + layer)  # of five layers, three are recomputed


def test_auto_says_what_it_chose_and_ends_with_the_same_weights(
    kalign_here: Kalign, short: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*short, "evaluation.generations=0", "trainer.max_steps=1"]
    auto = [*words, "trainer.gradient_checkpointing=auto"]
    assert kalign_here("train", *words, "runs_dir=plain").returncode == 0
    done = kalign_here("train", *auto, "runs_dir=auto")
    assert done.returncode == 0, done.stderr
    said = " ".join((done.stdout + done.stderr).split())
    assert "Gradient checkpointing: no layer is computed again; by the plan's account that takes" in said
    monkeypatch.setattr(checkpointing, "_available", lambda: 0)
    scarce = kalign_here("train", *auto, "runs_dir=scarce")
    assert "every layer is computed again; by the plan's account that takes more" in " ".join(
        (scarce.stdout + scarce.stderr).split()
    )
    runs = [only_run(Path(name)) for name in ("plain", "auto", "scarce")]
    assert len({run.name for run in runs}) == 1  # it is no part of what determines a run
    adapters = {(run / "adapter/adapter_model.safetensors").read_bytes() for run in runs}
    assert len(adapters) == 1


def test_a_plan_chooses_as_a_training_would(kalign_here: Kalign, short: list[str]) -> None:
    words = [*short, "trainer.gradient_checkpointing=auto", "--json"]
    for gib, how in ((24, "all layers kept"), (0.1, "each layer's input, and one layer recomputed")):
        terms = json.loads(kalign_here("plan", *words, f"memory={gib}").stdout)["memory"]["terms"]
        assert next(term["how"] for term in terms if term["name"] == "activations").endswith(how)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["trainer.gradient_checkpointing=atuo"], "did you mean auto"),
        (["trainer.gradient_checkpointing='False'"], "='False' is unknown; did you mean false"),
        (
            ["recipe=tiny_align", "trainer.gradient_checkpointing=auto"],
            "weighs pairs, which method=",
        ),
    ],
)
def test_what_auto_cannot_do_is_refused(words: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        compose.load(words)


def test_the_most_of_one_process_is_its_own() -> None:
    assert ranks.most(3) == 3 and not ranks.anywhere(False)


@pytest.mark.parametrize(("stored", "passes"), [(False, [True, False]), (True, [True])])
def test_a_probe_runs_the_reference_where_a_step_does(
    tmp_path: Path, stored: bool, passes: list[bool]
) -> None:
    made: Any = twins.trainer(twins.model_of("qwen3"), tmp_path, share=True)
    made.precompute_ref_logps = stored
    seen: list[bool] = []
    decoder = made.model.get_base_model().get_decoder()
    decoder.register_forward_pre_hook(lambda *_: seen.append(torch.is_grad_enabled()))
    checkpointing.forth_and_back(made, made.data_collator(checkpointing.largest(made)))
    assert seen == passes
    assert all(weight.grad.any() for weight in made.model.parameters() if weight.requires_grad)


@pytest.mark.gpu
def test_a_probe_step_on_a_gpu_leaves_no_gradient_and_the_random_state(tmp_path: Path) -> None:
    made: Any = twins.trainer(
        twins.model_of("qwen3").to("cuda"), tmp_path, share=True, checkpointing=True, use_cpu=False
    )
    state = torch.cuda.get_rng_state()
    chosen = checkpointing._probed(made)
    assert chosen.every == 0 and chosen.needed_bytes and chosen.needed_bytes < chosen.limit_bytes < 200 * GIB
    assert torch.equal(torch.cuda.get_rng_state(), state)
    assert all(weight.grad is None for weight in made.model.parameters())
