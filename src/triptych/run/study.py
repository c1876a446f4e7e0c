"""A search's memory: every trial with its words, score and fate, in an SQLite file that Optuna keeps and can go on with."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from triptych.base.errors import InputError, TriptychError
from triptych.base.extras import need
from triptych.contract.tasks import METRICS, Direction
from triptych.objective.scores import better
from triptych.run.recipe import Recipe
from triptych.run.search import Space, suggest

FILE = "study.db"
WAITS = 10
"""Seconds to wait for another program that reads or copies the file."""
ENOUGH_FOR_IMPORTANCE = 8
STARTUP = 5
"""Trials that run to their end before any is stopped early: there must be something to compare with."""


@dataclass(frozen=True)
class Trial:
    """One trial as it is told."""

    number: int
    state: str
    """done, pruned, failed, killed"""
    score: float | None
    loss: float | None
    epochs: int
    seconds: float
    words: dict[str, Any] = field(default_factory=dict)
    reason: str = ""

    @property
    def counts(self) -> bool:
        """A trial whose process died is done again."""
        return self.state != "killed"

    def as_dict(self) -> dict[str, Any]:
        """For study.json and --json."""
        return asdict(self)


def selected_direction(recipe: Recipe) -> Direction:
    """Which way the score is better that chooses epochs and trials."""
    task, _, metric = recipe.selected().partition(".")
    return METRICS[recipe.tasks[task].kind][metric] if metric else "lower"


class Study:
    """The trials of one folder."""

    def __init__(self, folder: Path, recipe: Recipe, space: Space, pruner: str) -> None:
        """Opens the file or makes it; trials that were at work when their process died are put first in the queue.

        Raises:
            InputError: Optuna is missing; the file is locked or damaged.
        """
        self.optuna = need("optuna", extra="tune", why="a search")
        self.file, self.space, self.direction = folder / FILE, space, selected_direction(recipe)
        self.optuna.logging.set_verbosity(self.optuna.logging.ERROR)
        epochs = sum(stage.epochs for stage in recipe.stages)
        with self._file():
            storage = self.optuna.storages.RDBStorage(
                f"sqlite:///{self.file.resolve()}", engine_kwargs={"connect_args": {"timeout": WAITS}}
            )
            self.study = self.optuna.create_study(
                storage=storage,
                study_name="triptych",
                load_if_exists=True,
                direction="maximize" if self.direction == "higher" else "minimize",
                pruner=_pruner(self.optuna, pruner, epochs),
            )
            self._again()
            begun = len(self.study.get_trials(deepcopy=False))
            # The seed moves on with the trials: started again, the sampler must not draw what it drew before.
            self.study.sampler = self.optuna.samplers.TPESampler(seed=recipe.training.seed + begun, n_startup_trials=2 * STARTUP)

    def _again(self) -> None:
        for stale in self.study.get_trials(deepcopy=False, states=(self.optuna.trial.TrialState.RUNNING,)):
            self.killed(stale.number, stale.params)

    def killed(self, number: int, params: dict[str, Any]) -> None:
        """A trial that was cut off does not count, and the next one does the same again."""
        with self._file():
            self.study.tell(number, state=self.optuna.trial.TrialState.FAIL)
            if params:
                self.study.enqueue_trial(params)

    def ask(self) -> tuple[Any, dict[str, Any]]:
        """The next trial and its words."""
        with self._file():
            trial = self.study.ask()
            words = suggest(trial, self.space)
            trial.set_user_attr("words", words)
        return trial, words

    def tell(self, trial: Any, state: str, score: float | None = None, **facts: Any) -> Trial:
        """Write down how a trial ended: done, pruned or failed."""
        states = {"done": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
        with self._file():
            for name, value in facts.items():
                trial.set_user_attr(name, value)
            trial.set_user_attr("state", state)
            self.study.tell(trial, score if state == "done" else None, state=self.optuna.trial.TrialState[states[state]])
        return next(one for one in self.trials() if one.number == trial.number)

    def report(self, trial: Any, epoch: int, score: float) -> bool:
        """Remember an epoch's score; whether the trial should be stopped."""
        with self._file():
            trial.report(score, epoch)
            return bool(trial.should_prune())

    def trials(self) -> list[Trial]:
        """All that have ended, in their order."""
        with self._file():
            return [_told(one) for one in self.study.get_trials(deepcopy=False) if one.state.name not in ("WAITING", "RUNNING")]

    def twin(self, words: dict[str, Any]) -> Trial | None:
        """A finished trial with the same words: training is deterministic, so its score holds."""
        return next((one for one in self.trials() if one.state == "done" and one.words == words), None)

    def best(self) -> Trial | None:
        """The best finished trial; of equal scores, the one with the lower validation loss."""
        best: Trial | None = None
        for one in self.trials():
            if one.state != "done" or one.score is None:
                continue
            tied = best is not None and one.score == best.score
            ahead = best is None or (one.loss is not None and better("lower", one.loss, best.loss) if tied else None)
            if ahead or (not tied and better(self.direction, one.score, best.score if best else None)):
                best = one
        return best

    def importance(self) -> dict[str, float]:
        """Share of the scores' variance that each word explains (functional ANOVA, Hutter et al. 2014); empty with few trials."""
        done = [one for one in self.trials() if one.state == "done"]
        if len(done) < ENOUGH_FOR_IMPORTANCE or len({one.score for one in done}) < 2:
            return {}
        with self._file(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is marked as experimental
            try:
                found = self.optuna.importance.get_param_importances(self.study)
            except (ValueError, RuntimeError, ImportError):  # every trial had the same value of it, or too little varied
                return {}
        return {path: float(share) for path, share in found.items()}

    @contextmanager
    def _file(self) -> Iterator[None]:
        """What goes wrong with the file, in words."""
        try:
            yield
        except Exception as problem:
            if not of_storage(problem):
                raise
            said = str(problem.__cause__ or problem)
            if "locked" in said or "locked" in str(problem):
                fix = "close the program that holds it (a dashboard, a database browser, a copy); the same command then goes on"
                raise InputError("the search's file is locked by another program", where=str(self.file), fix=fix) from problem
            if "not a database" in str(problem) or "malformed" in str(problem) or "no such table" in str(problem):
                fix = "bring the file back from a copy, or begin anew with another --out"
                raise InputError("the search's file is damaged or no search", where=str(self.file), fix=fix) from problem
            raise TriptychError(f"the search's file cannot be used: {str(problem).splitlines()[0]}", where=str(self.file)) from problem


def of_storage(problem: BaseException) -> bool:
    """Whether something went wrong with the file, not with the trial."""
    return type(problem).__module__.startswith(("sqlalchemy", "sqlite3")) or type(problem).__name__ == "StorageInternalError"


def _pruner(optuna: Any, name: str, epochs: int) -> Any:
    if name == "none":
        return optuna.pruners.NopPruner()
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=max(1, epochs // 9), max_resource=max(epochs, 1))
    return optuna.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=max(2, -(-epochs // 4)))


def _told(one: Any) -> Trial:
    facts = one.user_attrs
    state = facts.get("state") or "killed"
    last = max(one.intermediate_values.items(), default=(0, None))[1]
    score = one.value if state == "done" else last if state == "pruned" else None
    epochs = facts.get("epochs") or max(one.intermediate_values, default=0)
    return Trial(
        one.number, state, score, facts.get("loss"), epochs, facts.get("seconds", 0.0), facts.get("words", {}), facts.get("reason", "")
    )
