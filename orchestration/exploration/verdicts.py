"""Verdicts of Tune's trial schedulers, noted as they are given; other threads may wait for them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from orchestration.exploration.trainable import NUMBER, TIME

Result = Mapping[str, float]


class Verdicts:
    """Verdict on each trial at each rung, and how many trials the scheduler knows."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._by_rung: dict[tuple[int, float], bool | None] = {}
        self._waiting: dict[int, float] = {}
        self._gone: set[int] = set()
        self.num_added = 0

    def get(self, number: int, time: float) -> bool | None:
        """Return whether a trial is trained on after a rung; None: not decided.

        One that Tune has lost is trained on: only a verdict stops a training.
        """
        with self._changed:
            verdict = self._by_rung.get((number, time))
            return True if verdict is None and number in self._gone else verdict

    def is_paused(self, number: int) -> bool:
        """Return whether the scheduler keeps a trial waiting for others."""
        with self._changed:
            return number in self._waiting

    def wait(self, seconds: float) -> None:
        """Return when something changes, or after some seconds."""
        with self._changed:
            self._changed.wait(seconds)

    def added(self) -> None:
        with self._changed:
            self.num_added += 1
            self._changed.notify_all()

    def note(self, number: int, time: float, verdict: bool | None) -> None:
        """Note a verdict; None: the trial is paused, and waits for it."""
        with self._changed:
            self._by_rung[number, time] = verdict
            self._waiting.pop(number, None)
            if verdict is None:
                self._waiting[number] = time
            self._changed.notify_all()

    def note_waiting(self, number: int, verdict: bool) -> None:
        """Note the verdict on a paused trial."""
        time = self._waiting.get(number)
        if time is not None:
            self.note(number, time, verdict)

    def is_known(self, number: int, time: float) -> bool:
        return (number, time) in self._by_rung

    def note_gone(self, number: int) -> None:
        """Note that a trial ended for Tune."""
        with self._changed:
            self._gone.add(number)
            self._changed.notify_all()


class NotedScheduler(TrialScheduler):  # type: ignore[misc]  # Ray has no types
    """A trial scheduler whose verdicts are noted; it also hears of rungs that were passed before it was made."""

    def __init__(self, rules: TrialScheduler, verdicts: Verdicts, passed: Mapping[int, Sequence[Result]]) -> None:
        """Args: passed: number of a trial -> its results at rungs where it was decided already that it goes on."""
        super().__init__()
        self._rules: Any = rules
        self._verdicts, self._passed = verdicts, passed
        self._restarted: set[Trial] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what Tune cannot store: a search is never restored from Tune's own files."""
        return {}

    @property
    def metric(self) -> Any:
        return self._rules.metric

    @property
    def supports_buffered_results(self) -> Any:
        return self._rules.supports_buffered_results

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> Any:
        return self._rules.set_search_properties(metric, mode, **spec)

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        if trial in self._restarted:
            self._restarted.remove(trial)
            return
        tell_passed(self._rules, tune_controller, trial, self._passed.get(trial.config[NUMBER], ()))
        self._rules.on_trial_add(tune_controller, trial)
        self._verdicts.added()

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> str:
        number, time = trial.config[NUMBER], result[TIME]
        if self._verdicts.is_known(number, time):  # told again by a trial that was started anew
            return str(TrialScheduler.CONTINUE)
        decision: str = self._rules.on_trial_result(tune_controller, trial, result)
        verdict = {TrialScheduler.CONTINUE: True, TrialScheduler.STOP: False}.get(decision)
        self._verdicts.note(number, time, verdict)
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> None:
        """Tell the rules of a trial that ended. One that waited was stopped on its way to its pause: until Tune has
        saved it, it counts as running."""
        self._verdicts.note_waiting(trial.config[NUMBER], verdict=False)
        self._rules.on_trial_complete(tune_controller, trial, result)
        self._verdicts.note_gone(trial.config[NUMBER])

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Tell the rules of a trial that is lost; one that Tune starts anew, and adds again, stays where it is."""
        if trial.status == Trial.ERROR:
            self._restarted.add(trial)
            return
        self._rules.on_trial_error(tune_controller, trial)
        self._verdicts.note_gone(trial.config[NUMBER])

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        self._verdicts.note_waiting(trial.config[NUMBER], verdict=False)
        self._rules.on_trial_remove(tune_controller, trial)
        self._verdicts.note_gone(trial.config[NUMBER])

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        trial: Trial | None = self._rules.choose_trial_to_run(tune_controller)
        if trial is not None and trial.status == Trial.PAUSED:
            self._verdicts.note_waiting(trial.config[NUMBER], verdict=True)
        return trial

    def debug_string(self) -> Any:
        return self._rules.debug_string()


def tell_passed(rules: TrialScheduler, tune_controller: Any, trial: Trial, results: Sequence[Result]) -> None:
    """Tell rules of results on which nothing is to be decided any more.

    ASHA and the median rule take the results of a completed trial into account, and decide nothing then.
    """
    for result in results:
        rules.on_trial_add(tune_controller, trial)
        rules.on_trial_complete(tune_controller, trial, result)
