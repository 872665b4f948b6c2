"""The trial schedulers of Ray Tune that `trial_scheduler:` may name, set up for our rungs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    FIFOScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    TrialScheduler,
)

from orchestration.exploration.population import Population
from orchestration.exploration.trainable import TIME
from orchestration.spec.search.pruning import bracket_sizes
from orchestration.spec.search.section import SearchSpec
from orchestration.spec.search.trial import SearchTrial


def make_rules(search: SearchSpec, members: MutableMapping[int, SearchTrial]) -> TrialScheduler:
    """Return a new scheduler; the time of rung k is `time(k)` of its config, that of the end `time(num_rungs)`.

    Args: members: the trials by number; a scheduler that changes settings writes into it.
    """
    config, (metric, mode) = search.config.trial_scheduler, goal_of(search)
    if config.kind == "none":
        return FIFOScheduler()
    if config.kind == "pbt":
        return Population(search, metric, members)
    if config.kind == "asha":
        last = config.eta**config.num_rungs
        return AsyncHyperBandScheduler(TIME, metric, mode, max_t=last, grace_period=1, reduction_factor=config.eta)
    if config.kind == "hyperband":
        end = float(config.eta**config.num_rungs)
        return HyperBands(lambda: make_hyperband(search), sum(bracket_sizes(config)), end)
    return MedianStoppingRule(TIME, metric, mode, grace_period=1, min_samples_required=config.startup)


def make_hyperband(search: SearchSpec) -> HyperBandScheduler:
    """Return Tune's HyperBand for one band."""
    config, (metric, mode) = search.config.trial_scheduler, goal_of(search)
    # Somewhat more than the end: Tune divides in floating-point numbers and cuts off, 49 * 7**-2 to 0.
    return HyperBandScheduler(TIME, metric, mode, config.eta**config.num_rungs + 0.5, config.eta)


class HyperBands(TrialScheduler):  # type: ignore[misc]  # Ray has no types
    """HyperBand with a scheduler of Tune's for each band.

    Tune's own adds the trials of the next band to the last bracket, once some of that have ended (Ray 2.60): they would
    be compared with nobody.
    """

    def __init__(self, make: Callable[[], HyperBandScheduler], band_size: int, end: float) -> None:
        """Args: end: time of the last result of a trial."""
        super().__init__()
        self._make, self._band_size, self._end = make, band_size, end
        self._at_end: set[Trial] = set()
        self._bands: list[HyperBandScheduler] = []
        self._by_trial: dict[Trial, HyperBandScheduler] = {}

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:  # noqa: ARG002
        return metric is None and mode is None

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        if len(self._by_trial) == len(self._bands) * self._band_size:
            self._bands.append(self._make())
        self._by_trial[trial] = self._bands[-1]
        self._bands[-1].on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> Any:
        if result[TIME] >= self._end:
            self._at_end.add(trial)
        return self._by_trial[trial].on_trial_result(tune_controller, trial, result)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> None:
        self._by_trial[trial].on_trial_complete(tune_controller, trial, result)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        self._by_trial[trial].on_trial_error(tune_controller, trial)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        self._by_trial[trial].on_trial_remove(tune_controller, trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        chosen = (band.choose_trial_to_run(tune_controller) for band in self._bands)
        first = next((trial for trial in chosen if trial is not None), None)
        if first is None:
            self._end_forgotten(tune_controller)
        return first

    def _end_forgotten(self, tune_controller: Any) -> None:
        """Stop trials that are paused at their end, in bands where nothing else is left to run.

        Tune's own looks for paused ones when the last trial of a bracket ends, and forgets one whose pause is on its
        way just then (Ray 2.60).
        """
        for band in self._bands:
            left = [trial for trial, own in self._by_trial.items() if own is band and not trial.is_finished()]
            if all(trial.status == Trial.PAUSED and trial in self._at_end for trial in left):
                for trial in left:
                    tune_controller.stop_trial(trial)

    def debug_string(self) -> str:
        return "\n".join(band.debug_string() for band in self._bands)


def goal_of(search: SearchSpec) -> tuple[str, str]:
    """Return the metric that decides, and the name that Tune has for its better direction."""
    metric, direction = next(iter(search.config.objectives.items()))
    return metric, "min" if direction == "minimize" else "max"
