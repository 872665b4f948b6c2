"""A search in one level: its trials and rows, and the exchange with its study."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Generic, Protocol, TypeVar

from orchestration.control.outcome import Outcome
from orchestration.search.optuna_study import Study
from orchestration.search.trial_values import TrialTasks, violations
from orchestration.search.tune_link import TuneLink
from orchestration.spec.rows import RowSpec
from orchestration.spec.search.pruning import bracket_sizes, keep_training
from orchestration.spec.search.section import SearchSpec
from orchestration.spec.search.trial import SearchTrial

MOST_REFUSED = 200
"""Number of refused proposals in a row after which a search ends: its space is not what it should be."""


class Rows(Protocol):
    """Maker of rows from proposals: a part, or the inner level of its search."""

    @property
    def spec(self) -> SearchSpec: ...

    def row(self, trial: SearchTrial) -> tuple[RowSpec | None, list[Any]]: ...

    def ranked(self, trials: list[SearchTrial]) -> list[SearchTrial]: ...

    def next_rung(self, trial: SearchTrial) -> int | None: ...


Part = TypeVar("Part", bound=Rows)


class SingleLevelSearch(Generic[Part]):
    """The search of a part, or of an inner level."""

    def __init__(self, part: Part, study: Study) -> None:
        """Raises: StudyUnavailableError."""
        self.part, self.study = part, study
        self.trials: dict[int, SearchTrial] = {}
        self.rows: dict[int, RowSpec] = {}
        """Rows of all trials that have one, by number."""
        self.problem = ""
        """Reason why it ended before it had all its trials."""
        self.undecided: set[int] = set()
        """Running trials that wait for Ray Tune's verdict."""
        self.tune = TuneLink()
        for trial in study.trials():
            problems = self._store(trial)
            if problems and trial.state == "running":  # the rules, or the workers, have changed
                self._refuse(trial, problems)

    @property
    def running(self) -> list[SearchTrial]:
        return [trial for trial in self.trials.values() if trial.state == "running"]

    @property
    def ranked(self) -> list[RowSpec]:
        """The rows, the best trial's first."""
        ranked = self.part.ranked(list(self.trials.values()))
        return [self.rows[trial.number] for trial in ranked if trial.number in self.rows]

    @property
    def num_computing(self) -> int:
        """Number of running trials that need a worker, now or as soon as Ray Tune answers."""
        return len(self.running) - sum(self.tune.is_paused(number) for number in self.undecided)

    @property
    def proposals(self) -> list[SearchTrial]:
        """All trials as Ray Tune sees them, by number."""
        return [self.trials[number] for number in sorted(self.trials)]

    @property
    def fills_band(self) -> bool:
        """Return whether the last band of HyperBand, or a population, has room: it is proposed at once, to be compared
        as a whole."""
        config = self.part.spec.config.trial_scheduler
        num_trials = sum(trial.state != "refused" for trial in self.trials.values())
        if not config.compares_all or not self.wants_more or num_trials == 0:
            return False
        return config.kind == "pbt" or num_trials % sum(bracket_sizes(config)) > 0

    def propose(self) -> bool:
        """Ask for a trial that breaks no rule. Return whether there is one. Raises: StudyUnavailableError."""
        while self.wants_more:
            trial = self.study.ask()
            if trial is None:
                return False
            problems = self._store(trial)
            if not problems:
                self.tune.added(trial, wants_more=self.wants_more)
                return True
            self._refuse(trial, problems)
            self.problem = only_refused(list(self.trials.values()))
        return False

    def hear(self, trial: SearchTrial, tasks: TrialTasks, outcome: Outcome) -> SearchTrial | None:
        """Return a running trial as it is by now; None if nothing has changed. Raises: StudyUnavailableError."""
        if self.fills_band:
            return None
        heard = self._heard(trial, tasks, outcome)
        if heard is not None:
            self.undecided.discard(trial.number)
            self._store(heard)
            self.study.heard(heard)
            self.tune.ended(heard)
        return heard

    def _heard(self, trial: SearchTrial, tasks: TrialTasks, outcome: Outcome) -> SearchTrial | None:
        config, number = self.part.spec.config, trial.number
        if reason := tasks.failure(outcome.failed):
            return self.study.fail(number, reason) or replace(trial, state="failed", reason=reason)
        rung, names = self.part.next_rung(trial), list(config.objectives)
        measured = tasks.values([*names, *config.constraints], outcome.done)
        if measured is None:
            return None
        values, limited = measured[: len(names)], measured[len(names) :]
        wrong = [name for name, value in zip(names, values, strict=True) if not math.isfinite(value)]
        if wrong:  # Optuna would leave a trial of NaN running for ever, and count it against its neighbours
            reason = f"{', '.join(wrong)} is no finite number"
            valueless = replace(trial, state="valueless", reason=reason)
            return self.study.fail(number, reason, "valueless") or valueless
        if rung is not None:
            return self._at_rung(trial, rung, values[0])
        excess = violations(config, limited)
        complete = replace(trial, state="complete", values=tuple(values), violations=tuple(excess.values()))
        return self.study.complete(number, values, excess) or complete

    def _at_rung(self, trial: SearchTrial, rung: int, value: float) -> SearchTrial | None:
        keep = self._keeps(trial, rung, value)
        if keep is None:
            self.undecided.add(trial.number)
            return None
        there = replace(trial, at_rungs={**trial.at_rungs, rung: value})
        exploit = self.tune.exploit(trial.number, rung)
        if exploit is not None:
            there = replace(there, exploits={**trial.exploits, rung: exploit})
        if keep:
            return self.study.report(trial.number, rung, value, there.exploits) or there
        return self.study.prune(trial.number, rung, value) or replace(there, state="pruned")

    def _keeps(self, trial: SearchTrial, rung: int, value: float) -> bool | None:
        """Return whether a trial is trained on after a rung; None: Ray Tune has not decided yet."""
        verdict = self.tune.verdict(trial, rung, value)
        config = self.part.spec.config
        if config.trial_scheduler.kind != "none":
            return verdict
        others = [other.at_rungs[rung] for other in self.trials.values() if rung in other.at_rungs]
        return keep_training(config.pruner, self.part.spec.directions[0], value, others)

    @property
    def wants_more(self) -> bool:
        return not self.problem and lacks_trials(self.part.spec, self.study, self.trials.values())

    def _store(self, trial: SearchTrial) -> list[str]:
        """Store a trial as it is now. Return why it can be no row, if it cannot."""
        self.trials[trial.number] = trial
        if trial.state == "refused":
            return []
        row, problems = self.part.row(trial)
        if row is not None and row != self.rows.get(trial.number):  # the same row is planned once
            self.rows[trial.number] = row
        return [problem.message for problem in problems]

    def end(self, reason: str) -> None:
        """End the search before it has all its trials."""
        self.problem = reason
        for trial in self.running:
            self._store(replace(trial, state="failed", reason=reason))

    def _refuse(self, trial: SearchTrial, problems: Sequence[str]) -> None:
        reason = "; ".join(problems)
        self.study.fail(trial.number, reason, "refused")
        refused = replace(trial, state="refused", reason=reason)
        self._store(refused)
        self.study.heard(refused)


def lacks_trials(spec: SearchSpec, study: Study, trials: Collection[SearchTrial]) -> bool:
    """Return whether a search wants more trials and its space has more; refused ones do not count."""
    counted = sum(trial.state != "refused" for trial in trials)
    return counted < spec.config.num_trials and len(trials) < study.most_trials


def only_refused(trials: Sequence[SearchTrial]) -> str:
    """Return why a search ends: so many proposals in a row broke a rule; "" if they did not."""
    last = trials[-MOST_REFUSED:]
    if len(last) < MOST_REFUSED or any(trial.state != "refused" for trial in last):
        return ""
    return f"{MOST_REFUSED} proposals in a row break a rule, the last because {last[-1].reason}; narrow its space"
