"""The searchers of Ray Tune that `searcher:` may name, and those that installed packages add."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from ray import tune
from ray.tune.search import Searcher

from orchestration.exploration.entry_points import load_entry_point
from orchestration.exploration.trial_schedulers import goal_of
from orchestration.spec.search.section import SEARCHERS_GROUP, SearchSpec
from orchestration.spec.search.space import Parameter
from orchestration.spec.search.trial import SearchTrial

MakeSearcher = Callable[[Mapping[str, Any], str, str, int], Searcher]
"""(space in Tune's terms, metric, "min" or "max", seed) -> a searcher; an entry point of `dfm.searchers` is one."""


def _bayesopt(space: Mapping[str, Any], metric: str, mode: str, seed: int) -> Searcher:
    from ray.tune.search.bayesopt import BayesOptSearch

    # A point twice in a row is an answer here: it costs nothing.
    return _with_space(BayesOptSearch(random_state=seed, skip_duplicate=False), space, metric, mode)


def _hyperopt(space: Mapping[str, Any], metric: str, mode: str, seed: int) -> Searcher:
    from ray.tune.search.hyperopt import HyperOptSearch

    return _with_space(HyperOptSearch(random_state_seed=seed), space, metric, mode)


def _nevergrad(space: Mapping[str, Any], metric: str, mode: str, seed: int) -> Searcher:
    import nevergrad  # type: ignore[import-untyped]
    from ray.tune.search.nevergrad import NevergradSearch

    parameters = NevergradSearch.convert_search_space(dict(space))
    parameters.random_state = np.random.RandomState(seed)
    return NevergradSearch(nevergrad.optimizers.OnePlusOne, None, parameters, metric, mode)


def _with_space(searcher: Searcher, space: Mapping[str, Any], metric: str, mode: str) -> Searcher:
    is_taken = searcher.set_search_properties(metric, mode, dict(space))
    assert is_taken, "the searcher has no space yet"
    return searcher


_MAKERS: dict[str, MakeSearcher] = {"bayesopt": _bayesopt, "hyperopt": _hyperopt, "nevergrad": _nevergrad}


class TuneSearcher:
    """A searcher of Tune as a search uses it: by the numbers of its trials, in one thread.

    Its state is made anew from the trials: it proposes them once more and hears of their ends, in their order.
    """

    def __init__(self, search: SearchSpec, trials: Iterable[SearchTrial]) -> None:
        """Args: trials: those that were proposed before, by number."""
        config = search.config
        assert config.searcher is not None, "a search without `searcher` has a sampler"
        self._search, (self._metric, mode) = search, goal_of(search)
        make = _MAKERS.get(config.searcher) or load_entry_point(SEARCHERS_GROUP, config.searcher)
        space = {parameter.key: tune_domain(parameter) for parameter in search.parameters}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a library deprecates in another one
            self._searcher: Searcher = make(space, self._metric, mode, config.seed)
        self.is_exhausted = False
        self._num_told: Counter[int] = Counter()
        for trial in trials:
            if self.suggest(trial.number) == dict(trial.settings):
                self.tell(trial)

    def suggest(self, number: int) -> dict[str, Any] | None:
        """Return settings in the order of the space; None if there are none now, or `is_exhausted`."""
        suggested = self._searcher.suggest(str(number))
        self.is_exhausted = suggested == Searcher.FINISHED
        if suggested is None or self.is_exhausted:
            return None
        return {parameter.key: _value(suggested[parameter.key]) for parameter in self._search.parameters}

    def tell(self, trial: SearchTrial) -> None:
        """Tell what is new of a trial that it proposed: the rungs that it passed, and its end, as Tune does."""
        name, rungs = str(trial.number), sorted(trial.at_rungs)
        last = rungs.pop() if trial.state == "pruned" else None
        for rung in rungs[self._num_told[trial.number] :]:
            self._searcher.on_trial_result(name, self._result(rung, trial.at_rungs[rung]))
        self._num_told[trial.number] = len(rungs)
        if last is not None:
            self._searcher.on_trial_complete(name, self._result(last, trial.at_rungs[last]))
        elif trial.state == "complete":
            result = self._result(len(rungs), trial.values[0])
            self._searcher.on_trial_result(name, result)
            self._searcher.on_trial_complete(name, result)
        elif trial.state != "running":
            self._searcher.on_trial_complete(name, None, error=True)

    def _result(self, rung: int, value: float) -> dict[str, float]:
        return {self._metric: value, "training_iteration": rung + 1}


def tune_domain(parameter: Parameter) -> Any:
    """Return a parameter in Tune's terms; choices as their JSON texts."""
    if parameter.kind == "choice":
        return tune.choice(list(parameter.choices))
    if parameter.points is not None:  # a step: its points, since few searchers know steps of numbers
        return tune.choice([json.dumps(point) for point in parameter.points])
    return (
        tune.loguniform(parameter.low, parameter.high)
        if parameter.kind == "log"
        else tune.uniform(parameter.low, parameter.high)
    )


def _value(suggested: Any) -> Any:
    return json.loads(suggested) if isinstance(suggested, str) else float(suggested)
