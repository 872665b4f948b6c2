"""The exploration of a search by Ray Tune: its trial scheduler is told of every rung, and decides who is trained on.

Two classes do this: `TunerExploration` with Tune's own Tuner on a Ray cluster, and `SingleThreadExploration` without
either, for trials that are known already and for simulations. The order of their calls is the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from orchestration.exploration.trainable import NUMBER, TIME, RungAnswer
from orchestration.exploration.trial_schedulers import goal_of, make_rules
from orchestration.exploration.verdicts import NotedScheduler, Verdicts, tell_passed
from orchestration.spec.search.section import SearchSpec
from orchestration.spec.search.trial import Exploit, SearchTrial


class Exploration(ABC):
    """One search as Tune sees it. Its trials are the proposals of the search; their values come from the launcher."""

    def __init__(self, search: SearchSpec, trials: Iterable[SearchTrial]) -> None:
        """Args: trials: those that were proposed before, by number; what was decided of them stands."""
        self._search, self._config = search, search.config.trial_scheduler
        self._metric, self._mode = goal_of(search)
        self._told: set[tuple[int, float]] = set()
        self._held: list[tuple[int, RungAnswer]] = []
        self._unheard: dict[int, SearchTrial] = {}
        """Trials that Tune gets with their first result: nothing is decided before, and one process serves all."""
        self._num_trials = self._num_ended = 0
        self._verdicts = Verdicts()
        proposed = [trial for trial in trials if trial.state != "refused"]
        self._members = {trial.number: trial for trial in proposed}
        rules = make_rules(search, self._members)
        if self._config.compares_all:  # it decides again, from the values alone
            again, passed = proposed, {}
        else:
            again = [trial for trial in proposed if trial.state == "running"]
            passed = {trial.number: self._results(trial) for trial in again}
            for trial in proposed:
                if trial.state != "running":
                    tell_passed(rules, None, _stub(trial), self._results(trial))
        self._scheduler: TrialScheduler = NotedScheduler(rules, self._verdicts, passed)
        self._begin()
        for trial in again:
            self.add(trial)
        if self._config.compares_all:
            for trial in again:
                self._tell_again(trial)

    def add(self, trial: SearchTrial) -> None:
        """Add a proposal."""
        self._num_trials += 1
        self._members.setdefault(trial.number, trial)
        if self._config.kind == "none":
            self._unheard[trial.number] = trial
        else:
            self._start(trial)

    def decide(self, trial: SearchTrial, rung: int, value: float) -> bool | None:
        """Tell the value of the objective at a rung. Return whether the trial is trained on; None: not decided yet."""
        time = self._time_of(rung)
        if (trial.number, time) not in self._told:
            self._told.add((trial.number, time))
            self._tell(trial.number, RungAnswer(time, self._result(time, value)))
        self._release()
        return self._verdicts.get(trial.number, time)

    def exploit(self, number: int, rung: int) -> Exploit | None:
        """Return whose training a trial goes on from after a rung that was decided; None: from its own."""
        return self._members[number].exploits.get(rung)

    def is_paused(self, number: int) -> bool:
        """Return whether the trial scheduler lets a trial wait for others."""
        return self._verdicts.is_paused(number)

    def end(self, trial: SearchTrial) -> None:
        """Tell that a trial ended, and with which value."""
        self._num_ended += 1
        self._tell(trial.number, self._end_of(trial))
        self._release()

    def wait(self, seconds: float) -> None:
        """Return when a verdict may have come, or after some seconds."""
        self._release()
        self._verdicts.wait(seconds)

    @abstractmethod
    def seal(self) -> None:
        """Say that no more proposals come: once all trials have ended, it ends by itself."""

    @abstractmethod
    def close(self) -> None:
        """End it, whatever its trials do; nothing of it calls Ray afterwards."""

    @property
    @abstractmethod
    def failure(self) -> str:
        """Reason why it can go on no more, "" if it can."""

    @abstractmethod
    def _begin(self) -> None: ...

    @abstractmethod
    def _start(self, trial: SearchTrial) -> None: ...

    @abstractmethod
    def _answer(self, number: int, answer: RungAnswer) -> None: ...

    def _end_of(self, trial: SearchTrial) -> RungAnswer:
        time = self._time_of(len(self._search.ladder.rungs))
        if trial.state == "complete":
            values = dict(zip(self._search.config.objectives, trial.values, strict=True))
            return RungAnswer(time, {**values, TIME: time}, is_last=True)
        if trial.state == "pruned":
            return RungAnswer(time, is_last=True)
        return RungAnswer(time, error=trial.reason or trial.state)

    def _tell(self, number: int, answer: RungAnswer) -> None:
        if number in self._unheard:
            self._start(self._unheard.pop(number))
        self._held.append((number, answer))

    def _release(self) -> None:
        """Answer the trials; where Tune decides by brackets, once it knows every trial of them."""
        if self._config.compares_all and self._verdicts.num_added < self._num_trials:
            return
        while self._held:
            self._answer(*self._held.pop(0))

    def _tell_again(self, trial: SearchTrial) -> None:
        for rung, value in sorted(trial.at_rungs.items()):
            self.decide(trial, rung, value)
        if trial.state != "running":
            self.end(trial)

    def _results(self, trial: SearchTrial) -> list[dict[str, float]]:
        results = [self._result(self._time_of(rung), value) for rung, value in sorted(trial.at_rungs.items())]
        if trial.state == "complete":
            results.append(self._result(self._time_of(len(self._search.ladder.rungs)), trial.values[0]))
        return results

    def _time_of(self, rung: int) -> float:
        return float(self._config.time(rung))

    def _result(self, time: float, value: float) -> dict[str, float]:
        return {self._metric: value, TIME: time}


def _stub(trial: SearchTrial) -> Trial:
    return Trial("explore", stub=True, config={NUMBER: trial.number}, trial_id=f"before-{trial.number}")
