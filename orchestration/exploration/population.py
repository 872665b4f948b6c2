"""Population based training as a trial scheduler of Ray Tune.

Tune's own `PopulationBasedTraining` (Ray 2.60) cannot be it: it draws its decisions from the global random numbers,
takes no searcher beside it, overwrites a trial's config, its number in it, with the donor's, and copies Tune's
checkpoints. Here the decisions are those of `spec.population`, and a training goes on from the donor's checkpoint in
the store.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from orchestration.exploration.trainable import NUMBER, TIME
from orchestration.spec.search.population import exploits_at
from orchestration.spec.search.section import SearchSpec
from orchestration.spec.search.trial import SearchTrial


class Population(TrialScheduler):  # type: ignore[misc]  # Ray has no types
    """Lets every trial wait at a rung until all have come there, and lets them all go on."""

    def __init__(self, search: SearchSpec, metric: str, members: MutableMapping[int, SearchTrial]) -> None:
        """Args: members: all trials by number, as they are; every decision is written into it before it is told."""
        super().__init__()
        self._search, self._metric, self._members = search, metric, members
        self._num_rungs = search.config.trial_scheduler.num_rungs
        self._live: dict[Trial, None] = {}
        self._waiting: dict[Trial, int] = {}
        """Trial -> the rung at which it waits."""
        self._decided = {(number, rung) for number, trial in members.items() for rung in trial.at_rungs}

    @property
    def metric(self) -> str:
        return self._metric

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:  # noqa: ARG002
        return metric is None and mode is None

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:  # noqa: ARG002
        self._live[trial] = None

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> str:  # noqa: ARG002
        number, rung = trial.config[NUMBER], int(result[TIME]) - 1
        if rung >= self._num_rungs or (number, rung) in self._decided:
            return str(TrialScheduler.CONTINUE)
        member = self._members[number]
        self._members[number] = replace(member, at_rungs={**member.at_rungs, rung: float(result[self._metric])})
        self._waiting[trial] = rung
        self._decide()
        return str(TrialScheduler.PAUSE if trial in self._waiting else TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> None:  # noqa: ARG002
        self._leave(trial)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:  # noqa: ARG002
        self._leave(trial)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:  # noqa: ARG002
        self._leave(trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:  # noqa: ARG002
        able = (Trial.PENDING, Trial.PAUSED)
        return next((one for one in self._live if one.status in able and one not in self._waiting), None)

    def debug_string(self) -> str:
        return f"{len(self._live)} members, of which {len(self._waiting)} wait for others"

    def _leave(self, trial: Trial) -> None:
        """Wait no more for a trial that ended; its values stay."""
        self._live.pop(trial, None)
        self._waiting.pop(trial, None)
        self._decide()

    def _decide(self) -> None:
        """Decide at every rung where somebody waits and nobody is to come."""
        for rung in sorted(set(self._waiting.values())):
            if all(rung in self._members[trial.config[NUMBER]].at_rungs for trial in self._live):
                ready = [trial for trial, at in self._waiting.items() if at == rung]
                numbers = {trial.config[NUMBER] for trial in ready}
                exploits = exploits_at(self._search, rung, self._members, numbers)
                for number in numbers:
                    member, exploit = self._members[number], exploits.get(number)
                    if exploit is not None:
                        self._members[number] = replace(member, exploits={**member.exploits, rung: exploit})
                    self._decided.add((number, rung))
                for trial in ready:
                    del self._waiting[trial]
