"""An exploration without a Tuner, in the thread of its caller: calls the trial scheduler as Tune's controller would."""

from __future__ import annotations

from collections import defaultdict, deque

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from orchestration.exploration.exploration import Exploration
from orchestration.exploration.trainable import NUMBER, RungAnswer
from orchestration.spec.search.trial import SearchTrial


class SingleThreadExploration(Exploration):
    """Needs no cluster: for trials that are known before Ray starts, and for simulations."""

    @property
    def failure(self) -> str:
        return ""

    def wait(self, seconds: float) -> None:
        """Return at once: every verdict is there."""

    def seal(self) -> None: ...

    def close(self) -> None: ...

    def get_trials(self) -> list[Trial]:
        """Return all trials. Called by schedulers, as the methods below."""
        return list(self._trials.values())

    def get_live_trials(self) -> set[Trial]:
        return {trial for trial in self._trials.values() if not trial.is_finished()}

    def stop_trial(self, trial: Trial) -> None:
        if trial.is_finished():
            return
        if trial.status == Trial.RUNNING:
            self._scheduler.on_trial_complete(self, trial, dict(trial.last_result))
        else:
            self._scheduler.on_trial_remove(self, trial)
        trial.set_status(Trial.TERMINATED)

    def _begin(self) -> None:
        self._trials: dict[int, Trial] = {}
        self._answers: dict[int, deque[RungAnswer]] = defaultdict(deque)

    def _start(self, trial: SearchTrial) -> None:
        config = {NUMBER: trial.number, **trial.settings}
        new = Trial("explore", stub=True, config=config, trial_id=str(trial.number))
        self._trials[trial.number] = new
        self._scheduler.on_trial_add(self, new)
        self._go_on()

    def _answer(self, number: int, answer: RungAnswer) -> None:
        self._answers[number].append(answer)
        self._go_on()

    def _go_on(self) -> None:
        """Run what the scheduler wants to run, and let trials report, until all wait for an answer."""
        is_moving = True
        while is_moving:
            is_moving = False
            while (chosen := self._scheduler.choose_trial_to_run(self)) is not None:
                chosen.set_status(Trial.RUNNING)
            for number, trial in self._trials.items():
                if trial.status == Trial.RUNNING and self._answers[number]:
                    self._report(trial, self._answers[number].popleft())
                    is_moving = True
                    break

    def _report(self, trial: Trial, answer: RungAnswer) -> None:
        if answer.error:
            self._scheduler.on_trial_error(self, trial)
            trial.set_status(Trial.ERROR)
            return
        decision = TrialScheduler.CONTINUE
        if answer.metrics:
            result = dict(answer.metrics)
            decision = self._scheduler.on_trial_result(self, trial, result)
            trial.update_last_result(result)
        if decision == TrialScheduler.PAUSE:
            trial.set_status(Trial.PAUSED)
        elif decision == TrialScheduler.STOP or answer.is_last:
            self.stop_trial(trial)
