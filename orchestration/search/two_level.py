"""A search in two levels: outside the settings of the training, inside those of the sampling, on every snapshot.

A trial of the outer study is one training; an inner study, of its own and named after it, proposes how its snapshot is
sampled. The best value of these is the outer trial's. Rows are the inner trials, with all their settings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from orchestration.common.digests import digest_of
from orchestration.control.outcome import Outcome
from orchestration.search.optuna_study import Study
from orchestration.search.single_level import SingleLevelSearch, lacks_trials, only_refused
from orchestration.search.trial_values import TrialTasks
from orchestration.search.tune_link import TuneLink
from orchestration.spec.rows import RowSpec
from orchestration.spec.search.rows import PartSearch
from orchestration.spec.search.section import SearchSpec
from orchestration.spec.search.trial import SearchTrial, best_first

OpenStudy = Callable[[str, SearchSpec, Mapping[str, Any]], Study]
"""(digest, what is searched, data of which it is the digest)."""
_MOST_INNER = 100_000


@dataclass(frozen=True)
class InnerPart:
    """The part as an inner study sees it: its proposals are completed by the settings of the outer trial."""

    whole: PartSearch
    spec: SearchSpec
    outer: SearchTrial

    @property
    def about(self) -> dict[str, Any]:
        """The identity of the search as plain data."""
        return {"whole": self.whole.about, "outer": dict(self.outer.settings), "level": "inner"}

    def row(self, trial: SearchTrial) -> tuple[RowSpec | None, list[Any]]:
        return self.whole.row(self.flat(trial))

    def next_rung(self, trial: SearchTrial) -> int | None:  # noqa: ARG002
        """Return None: snapshots are compared at the end alone."""
        return None

    def ranked(self, trials: list[SearchTrial]) -> list[SearchTrial]:
        return best_first(trials, self.spec.directions)

    def flat(self, trial: SearchTrial) -> SearchTrial:
        """Return an inner trial with all its settings, under a number and a name that are unique in the search."""
        return replace(
            trial,
            number=self.outer.number * _MOST_INNER + trial.number,
            name=f"{self.outer.number}.{trial.number}",
            settings={**self.outer.settings, **trial.settings},
        )


class TwoLevelSearch:
    """The search of a part in two levels, with the interface of a `SingleLevelSearch`."""

    def __init__(self, part: PartSearch, open_study: OpenStudy) -> None:
        """Raises: UserError, StudyUnavailableError."""
        assert part.spec.inner is not None, "a search of one level is a SingleLevelSearch"
        self.part, self._inner, self._open = part, part.spec.inner, open_study
        self.study = open_study(part.digest, part.spec, part.about)
        self.problem = ""
        self.tune = TuneLink()
        self.undecided: set[int] = set()
        """Always empty: trainings are compared at their end alone."""
        self._outer: dict[int, SearchTrial] = {}
        self._states: dict[int, SingleLevelSearch[InnerPart]] = {}
        for trial in self.study.trials():
            self._store(trial)

    @property
    def fills_band(self) -> bool:
        return False

    @property
    def num_computing(self) -> int:
        return len(self.running)

    @property
    def proposals(self) -> list[SearchTrial]:
        """Trainings, as Ray Tune sees them, by number."""
        return [self._outer[number] for number in sorted(self._outer)]

    @property
    def running(self) -> list[SearchTrial]:
        """Inner trials."""
        return [state.part.flat(trial) for state in self._states.values() for trial in state.running]

    @property
    def trials(self) -> dict[int, SearchTrial]:
        """Inner trials by their number in the whole search."""
        every = [state.part.flat(trial) for state in self._states.values() for trial in state.trials.values()]
        return {trial.number: trial for trial in every}

    @property
    def rows(self) -> dict[int, RowSpec]:
        """Rows of all inner trials that have one."""
        return {
            state.part.flat(state.trials[number]).number: row
            for state in self._states.values()
            for number, row in state.rows.items()
        }

    @property
    def ranked(self) -> list[RowSpec]:
        """The rows, the best trial's first."""
        rows = self.rows
        ranked = best_first(list(self.trials.values()), self.part.spec.directions)
        return [rows[trial.number] for trial in ranked if trial.number in rows]

    def propose(self) -> bool:
        """Ask for an inner trial, of a training that is under way or of a new one. Raises: StudyUnavailableError."""
        while True:
            for number, trial in list(self._outer.items()):
                if trial.state == "running":
                    if number not in self._states:  # its study could not be opened
                        self._store(trial)
                    if self._states[number].propose():
                        return True
                self._complete_outer(number)
            proposed = self.study.ask() if self.wants_more else None
            if proposed is None:
                return False
            self._store(proposed)
            self.tune.added(proposed, wants_more=self.wants_more)

    def hear(self, trial: SearchTrial, tasks: TrialTasks, outcome: Outcome) -> SearchTrial | None:
        """Return a running inner trial as it is by now; None if nothing has changed. Raises: StudyUnavailableError."""
        number, inner = divmod(trial.number, _MOST_INNER)
        state = self._states[number]
        changed = state.hear(state.trials[inner], tasks, outcome)
        if changed is None:
            return None
        self._complete_outer(number)
        return state.part.flat(changed)

    def end(self, reason: str) -> None:
        """End the search before it has all its trials."""
        self.problem = reason
        for state in self._states.values():
            state.end(reason)
        for number, trial in self._outer.items():
            if trial.state == "running":
                self._outer[number] = replace(trial, state="failed", reason=reason)

    @property
    def wants_more(self) -> bool:
        return not self.problem and lacks_trials(self.part.spec, self.study, self._outer.values())

    def _store(self, trial: SearchTrial) -> None:
        self._outer[trial.number] = trial
        if trial.state == "refused":
            return
        inner = InnerPart(self.part, self._inner, trial)
        study = self._open(digest_of(inner.about), self._inner, inner.about)
        self._states[trial.number] = SingleLevelSearch(inner, study)

    def _complete_outer(self, number: int) -> None:
        """Tell the outer study and Ray Tune the value of a training's best sampling, once all its samplings ended."""
        before = self._outer[number]
        self._complete(number)
        if self._outer[number] != before:
            self.study.heard(self._outer[number])
            self.tune.ended(self._outer[number])

    def _complete(self, number: int) -> None:
        state = self._states.get(number)
        trial = self._outer[number]
        if state is None or trial.state != "running" or state.running or state.wants_more:
            return
        ended = list(state.trials.values())
        if not ended or all(one.state == "refused" for one in ended):
            reason = ended[-1].reason if ended else "no sampling was proposed"
            refused = replace(trial, state="refused", reason=reason)
            self._outer[number] = self.study.fail(number, reason, "refused") or refused
            self.problem = only_refused(list(self._outer.values()))
            return
        complete = [one for one in ended if one.state == "complete"]
        if not complete:
            failed = next((one for one in ended if one.state == "failed"), None)
            why = failed or next(one for one in ended if one.state != "refused")
            without = replace(trial, state=why.state, reason=why.reason)
            self._outer[number] = self.study.fail(number, why.reason, why.state) or without
            return
        best = best_first(complete, self.part.spec.directions)[0]
        # One that somebody else has told complete has no violations.
        violations = dict(zip(self.part.spec.config.constraints, best.violations, strict=bool(best.violations)))
        worth = replace(trial, state="complete", values=best.values, violations=best.violations)
        self._outer[number] = self.study.complete(number, best.values, violations) or worth
