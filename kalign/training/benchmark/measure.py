"""Timing the arms in turns: seconds, memory, tokens and operations of a training step."""

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from kalign.errors import NumericError
from kalign.training.benchmark import arms, elsewhere
from kalign.training.benchmark.arms import Arm
from kalign.training.benchmark.elsewhere import Elsewhere
from kalign.training.benchmark.workloads import Workload
from kalign.training.trainer import PairTrainer

# How far log-probs may be apart before an arm counts as another computation: a share, and nats
EXACT = {"cpu": (2e-6, 1e-6), "cuda": (0.0, 0.25)}


@dataclass(kw_only=True)
class Measured:
    """What was seen of one arm; seconds are of one optimizer step."""

    seconds: list[float] = field(default_factory=list)
    reference_seconds: list[float] = field(default_factory=list)  # of scoring a step's pairs ahead
    executed: int = 0  # tokens that the decoder ran in a step, policy and reference
    peak_bytes: int = 0
    loss: float = 0.0
    furthest: float = 0.0  # from the first arm's log-probs, in nats a token

    @property
    def step(self) -> float:
        """The middle one of the steps' seconds."""
        return median(self.seconds)


class Bench:
    """The arms on one workload, each with a trainer of its own; on a GPU only one exists at a time.

    Args:
        python: that of an environment which holds LLaMA-Factory, if that is among the arms.
    """

    def __init__(
        self, workload: Workload, names: Sequence[str], *, device: torch.device, python: str | None = None
    ) -> None:
        self.python = python
        self.workload = workload
        self.names = tuple(names)
        self.device = device
        self.kept: dict[str, PairTrainer] = {}
        self.measured = {name: Measured() for name in names}
        self.known: list[torch.Tensor] | None = None

    def run(
        self, *, rounds: int, steps: int, warm_up: int, say: Callable[[str], None]
    ) -> dict[str, Measured]:
        """Check that all arms compute the same, then time them in turns, forth and back."""
        for name in self.names:
            if name != elsewhere.NAME:
                with self._trainer(name) as trainer:
                    self._examine(name, trainer)
        if elsewhere.NAME in self.names:
            self._examine_elsewhere()
        for number in range(rounds):
            for name in (*self.names, *reversed(self.names)):
                if name == elsewhere.NAME:
                    told = self.elsewhere(steps=steps, warm_up=warm_up)
                    self.measured[name].seconds += told.seconds
                    continue
                with self._trainer(name) as trainer:
                    self._time(name, trainer, steps=steps, warm_up=warm_up)
            say(f"{self.workload.name}: turn {number + 1} of {rounds}")
        return self.measured

    @contextmanager
    def _trainer(self, name: str) -> Iterator[PairTrainer]:
        trainer = self.kept.get(name) or arms.build(arms.EVERY[name], self.workload, device=self.device)
        if self.device.type == "cpu":
            self.kept[name] = trainer
        yield trainer
        if self.device.type == "cuda":
            del trainer
            gc.collect()
            torch.cuda.empty_cache()

    def _examine(self, name: str, trainer: PairTrainer) -> None:
        """Log-probs beside the first arm's, the loss, tokens and memory of one step.

        Raises:
            NumericError: the log-probs differ, so that there is nothing to compare.
        """
        noted, arm = self.measured[name], arms.EVERY[name]
        first = arms.batch(arm, trainer, self.workload.batches()[0])
        found = _logps(trainer, first).cpu()
        scored = found != 0
        known = self.known[0] if self.known else found
        share, nats = EXACT[self.device.type]
        apart = (found - known).abs()
        noted.furthest = float(apart[scored].max())
        if not (apart <= share * known.abs() + nats).all():
            raise NumericError(f"{name} is {noted.furthest:.2g} nats off {self.names[0]}, so it is no arm")
        self.known = [known]
        with _tokens(trainer, noted), _peak(noted, self.device):
            noted.loss = step(trainer, arms.steps(arm, trainer, self.workload)[0])

    def _examine_elsewhere(self) -> None:
        """The same of LLaMA-Factory, with the weights and the adapter of kalign's arm.

        Raises:
            NumericError: its log-probs differ.
        """
        assert self.python is not None and self.known is not None
        with self._trainer("kalign") as like:
            self.elsewhere = Elsewhere(self.python, self.workload, like)
        noted, told = self.measured[elsewhere.NAME], self.elsewhere(steps=0, warm_up=0)
        share, nats = EXACT[self.device.type]
        noted.furthest, same = elsewhere.furthest(told, self.known[0], share=share, nats=nats)
        if not same:
            raise NumericError(f"{elsewhere.NAME} is {noted.furthest:.2g} nats off {self.names[0]}")
        noted.executed, noted.peak_bytes, noted.loss = told.executed, told.peak_bytes, told.loss

    def _time(self, name: str, trainer: PairTrainer, *, steps: int, warm_up: int) -> None:
        noted, arm = self.measured[name], arms.EVERY[name]
        made = arms.steps(arm, trainer, self.workload)
        for number in range(warm_up):
            step(trainer, made[number % len(made)])
        for number in range(steps):
            noted.seconds.append(self._seconds(partial(step, trainer, made[number % len(made)])))
        noted.reference_seconds.append(self._seconds(partial(_reference, trainer, made[0])))

    def _seconds(self, act: Callable[[], Any]) -> float:
        """Of the processor on a CPU, so that others on the machine count less; of the clock on a GPU."""
        clock = time.process_time if self.device.type == "cpu" else time.perf_counter
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        began = clock()
        act()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return clock() - began


def step(trainer: PairTrainer, micro_batches: Sequence[Mapping[str, Any]]) -> float:
    """One optimizer step as the Trainer takes it, at a learning rate of nothing, so that arms stay alike; the
    loss is the mean over all pairs."""
    trainer.model.train()
    pairs = [len(batch["input_ids"]) for batch in micro_batches]
    whole = 0.0
    for batch, count in zip(micro_batches, pairs, strict=True):
        with trainer.compute_loss_context_manager(), trainer.accelerator.autocast():
            loss = trainer.compute_loss(trainer.model, dict(batch)) * (count / sum(pairs))
        loss.backward()
        whole += float(loss.item())
    for group in trainer.optimizer.param_groups:
        group["lr"] = 0.0
    trainer.optimizer.step()
    trainer.model.zero_grad()
    trainer._metrics["train"].clear()
    return whole


def _logps(trainer: PairTrainer, batch: dict[str, Any]) -> torch.Tensor:
    """The log-prob of every token under the policy, in TRL's shape."""
    labels = batch["input_ids"].masked_fill(batch.pop("completion_mask") == 0, -100)
    for name in ("ref_chosen_logps", "ref_rejected_logps"):
        batch.pop(name, None)
    with torch.no_grad(), trainer.accelerator.autocast():
        found: torch.Tensor = trainer.model(
            **batch, labels=labels, fused_lm_head=True, use_cache=False
        ).log_probs
    return found.float()


def _reference(trainer: PairTrainer, micro_batches: Sequence[Mapping[str, Any]]) -> None:
    for batch in micro_batches:
        given = {name: one for name, one in batch.items() if not name.startswith("ref_")}
        trainer.compute_ref_log_probs(trainer.model, given)


@contextmanager
def _tokens(trainer: PairTrainer, noted: Measured) -> Iterator[None]:
    def count(_: Any, given: tuple[torch.Tensor, ...]) -> None:
        noted.executed += given[0].numel()

    hook = trainer.model.get_base_model().get_input_embeddings().register_forward_pre_hook(count)
    yield
    hook.remove()


@contextmanager
def _peak(noted: Measured, device: torch.device) -> Iterator[None]:
    """The most bytes of tensors that a step adds to those that are there, or on a GPU, of all."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        yield
        noted.peak_bytes = torch.cuda.max_memory_allocated()
        return
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        yield
    now = 0
    events = seen.profiler.kineto_results.events()
    for event in sorted((one for one in events if one.name() == "[memory]"), key=lambda one: one.start_ns()):
        now += event.nbytes()
        noted.peak_bytes = max(noted.peak_bytes, now)


def operations(arm: Arm, workload: Workload, trainable: int) -> tuple[float, float]:
    """Operations of one step: those that have to be, and all that are done.

    Source:
        Frozen weights cost 2 operations a token and weight forward and 2 for the gradient of their input;
        attention is causal, its backward 2.5 times its forward.
    """
    width, depth = workload.hidden, workload.layers
    grouped = width * workload.key_heads // workload.heads
    body = depth * (2 * width * width + 2 * width * grouped + 3 * width * workload.intermediate)
    tokens = attended = scored = 0.0
    for pairs in workload.steps()[0]:
        longest = max(len(p["prompt_ids"]) + max(len(p["chosen_ids"]), len(p["rejected_ids"])) for p in pairs)
        for pair in pairs:
            before, *answers = (len(pair[name]) for name in ("prompt_ids", "chosen_ids", "rejected_ids"))
            scored += sum(answers)
            if arm.shared:
                tokens += before - 1 + sum(answers)
                attended += (before - 1) ** 2 / 2 + sum(
                    length * (before - 1) + length**2 / 2 for length in answers
                )
            else:
                tokens += 2 * longest
                attended += longest**2
    attention = 4 * width * depth * attended
    head = scored * workload.vocabulary * width
    needed = tokens * (4 * body + 6 * trainable) + 3.5 * attention + (4 if arm.head else 6) * head
    done = needed
    if arm.checkpointing:
        done += tokens * (2 * body + 2 * trainable) + attention
    if not arm.stored:
        reference = tokens * 2 * body + attention + 2 * head
        needed, done = needed + reference, done + reference
    return needed, done
