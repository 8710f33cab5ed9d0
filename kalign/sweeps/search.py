"""The search itself: Optuna's samplers and pruners over a journal file, asked outside the trainings.

Whoever holds the sweep's lock is the only one to write the journal. Each proposal is drawn from a random
state of its own, which its number decides, so a sweep that was killed makes the proposals of one that was
not.
"""

import importlib.util
import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kalign.errors import ConfigError
from kalign.sweeps.plan import OBJECTIVES, Plan
from kalign.sweeps.space import Dimension

if TYPE_CHECKING:
    import optuna

JOURNAL = "journal.jsonl"


class Search:
    """A study on disk.

    Args:
        folder: where its journal lies; None for a rehearsal that leaves nothing.

    Raises:
        ConfigError: Optuna is not installed.
    """

    def __init__(self, plan: Plan, folder: Path | None) -> None:
        self.plan = plan
        _require_optuna()
        import optuna

        self.optuna = optuna
        self.begun: dict[int, optuna.trial.Trial] = {}  # by number, those that this process looks after
        self.study = self.optuna.create_study(
            storage=self._storage(folder),
            study_name=plan.folder.name,
            load_if_exists=True,
            direction="maximize" if OBJECTIVES[plan.objective].larger else "minimize",
            pruner=self._pruner(),
        )
        if plan.search == "grid":
            keys = [dimension.key for dimension in plan.dimensions]
            for point in itertools.product(*(dimension.choices for dimension in plan.dimensions)):
                self.study.enqueue_trial(dict(zip(keys, point, strict=True)), skip_if_exists=True)

    def next(self) -> int | None:
        """The number of a trial to look after: one that was left unfinished, else a new one; None when all
        are done."""
        states = self.optuna.trial.TrialState
        left = [
            trial
            for trial in self.study.get_trials(deepcopy=False, states=(states.RUNNING,))
            if trial.number not in self.begun
        ]
        if left:
            self.study.sampler = self._sampler(left[0].number)
            # Optuna offers no public way back to a trial that another process began
            trial = self.optuna.trial.Trial(self.study, left[0]._trial_id)
        else:
            known = self.study.get_trials(deepcopy=False)
            number = sum(trial.state != states.WAITING for trial in known)
            if number >= self.plan.trials:
                return None
            self.study.sampler = self._sampler(number)
            trial = self.study.ask()
        for dimension in self.plan.dimensions:
            _suggest(trial, dimension)
        self.begun[trial.number] = trial
        return trial.number

    def values(self, number: int) -> dict[str, Any]:
        """What a trial tries."""
        return dict(self.begun[number].params)

    def note(self, number: int, **facts: Any) -> None:
        """Write facts about a trial down."""
        for key, fact in facts.items():
            self.begun[number].set_user_attr(key, fact)

    def noted(self, number: int) -> Mapping[str, Any]:
        """What was written down about a trial."""
        return self.begun[number].user_attrs

    def hopeless(self, number: int, curve: Mapping[int, float]) -> bool:
        """Whether a trial should be given up, after the points of its curve, by step."""
        trial = self.begun[number]
        frozen = self.study.get_trials(deepcopy=False)[number]
        for step in sorted(curve.keys() - frozen.intermediate_values.keys()):
            trial.report(curve[step], step)
        return trial.should_prune()

    def finish(self, number: int, state: str, value: float | None = None) -> None:
        """Say how a trial ended: complete with a value, pruned, or fail."""
        self.study.tell(number, value, state=self.optuna.trial.TrialState[state.upper()])
        del self.begun[number]

    def _storage(self, folder: Path | None) -> "optuna.storages.BaseStorage":
        if folder is None:
            return self.optuna.storages.InMemoryStorage()
        from optuna.storages.journal import JournalFileBackend

        path = folder / JOURNAL
        _mend(path)
        return self.optuna.storages.JournalStorage(JournalFileBackend(str(path)))

    def _sampler(self, number: int) -> "optuna.samplers.BaseSampler":
        seed = self.plan.seed * 1_000_003 + number
        if self.plan.search == "tpe":
            return self.optuna.samplers.TPESampler(seed=seed)
        return self.optuna.samplers.RandomSampler(seed=seed)  # a grid's points are enqueued, not drawn

    def _pruner(self) -> "optuna.pruners.BasePruner":
        if self.plan.pruning == "median":
            return self.optuna.pruners.MedianPruner()
        if self.plan.pruning == "halving":
            return self.optuna.pruners.SuccessiveHalvingPruner()
        return self.optuna.pruners.NopPruner()


def _require_optuna() -> None:
    if importlib.util.find_spec("optuna") is None:
        raise ConfigError("a sweep needs Optuna, which is not installed; pip install 'kalign[sweep]'")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)


def _suggest(trial: "optuna.trial.Trial", dimension: Dimension) -> None:
    if dimension.choices:
        trial.suggest_categorical(dimension.key, dimension.choices)
    elif dimension.whole:
        trial.suggest_int(dimension.key, int(dimension.low), int(dimension.high), log=dimension.log)
    else:
        trial.suggest_float(dimension.key, dimension.low, dimension.high, log=dimension.log)


def _mend(path: Path) -> None:
    """Cut off the half line, and remove the lock, that a killed process can leave; its own lock keeps others
    out."""
    for left in path.parent.glob(f"{path.name}.lock*"):
        left.unlink()
    if path.exists():
        content = path.read_bytes()
        os.truncate(path, content.rfind(b"\n") + 1)
