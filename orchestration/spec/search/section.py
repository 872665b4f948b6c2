"""A part's `search:`: its space, objectives and limits, who proposes, and who decides what is trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Interval, Len

from orchestration.spec.search.space import Parameter

SamplerName = Literal["random", "grid", "tpe", "cmaes", "nsga2"]
Direction = Literal["minimize", "maximize"]
SchedulerKind = Literal["none", "asha", "hyperband", "median", "pbt"]
RungUnit = Literal["steps", "images", "flops"]
TUNE_SEARCHERS = {"bayesopt": "bayes_opt", "hyperopt": "hyperopt", "nevergrad": "nevergrad"}
"""Ray Tune's searchers that `searcher:` may name -> the module that each needs."""
TUNE_CALLBACKS = {"csv": "", "json": "", "tensorboard": "tensorboardX"}
"""Ray Tune's callbacks that `callbacks:` may name -> the module that each needs."""
SEARCHERS_GROUP, CALLBACKS_GROUP = "dfm.searchers", "dfm.callbacks"
"""Entry points by which installed packages add to both; a sweep file never holds a path to code."""
MOST_TOGETHER = 100
"""Trials that Ray Tune may have at the same time; each is a process of about 240 MB on the driver's node."""
COSTS = ("sampling_flops", "num_evaluations")
"""Costs of sampling a trial, known before it is computed: FLOPs of all samples of an evaluation, network evaluations of
one."""


@dataclass(frozen=True)
class LimitConfig:
    """A limit that a trial has to keep to."""

    at_most: float | None = None
    """In the metric's own unit."""
    at_least: float | None = None
    """In the metric's own unit."""

    def excess(self, value: float) -> float:
        """Return how far a value is beyond the limit; 0 or less if it is within."""
        over = [] if self.at_most is None else [value - self.at_most]
        under = [] if self.at_least is None else [self.at_least - value]
        return max([*over, *under])

    def __str__(self) -> str:
        bounds = (("at least", self.at_least), ("at most", self.at_most))
        return " and ".join(f"{name} {bound:g}" for name, bound in bounds if bound is not None)


@dataclass(frozen=True)
class PrunerConfig:
    """The rule by which a trial is trained on after a rung, given its score there."""

    kind: Literal["none", "median", "asha"] = "none"
    """`median`: as long as it is no worse than the median of the others there. `asha`: if it is in the best 1/eta."""
    rungs: Annotated[tuple[Annotated[float, Interval(gt=0, le=1e30)], ...], Len(0, 20)] = ()
    """Ascending."""
    rungs_in: RungUnit = "steps"
    """Unit of the rungs; images or FLOPs compare like with like if steps of trials differ in cost."""
    eta: Annotated[int, Interval(ge=2, le=100)] = 3
    """asha: one in so many is trained on."""
    startup: Annotated[int, Ge(1)] = 3
    """Number of first trials at a rung that are always trained on: there is nothing yet to compare them with."""


@dataclass(frozen=True)
class TrialSchedulerConfig:
    """The trial scheduler of Ray Tune that decides after each rung what is trained on, and with which settings."""

    kind: SchedulerKind = "none"
    """asha and median stop trials at rungs; hyperband pauses them and goes on with the best; pbt replaces the worst."""
    first: Annotated[float, Interval(ge=0, le=1e30)] = 0.0
    """First rung; each further one is `eta` times as far, or with pbt `first` further."""
    num_rungs: Annotated[int, Interval(ge=1, le=10)] = 1
    """Rungs before the end of a training."""
    eta: Annotated[int, Interval(ge=2, le=10)] = 3
    """Also the share that is kept: asha and hyperband train the best 1/eta on."""
    rungs_in: RungUnit = "steps"
    """Unit of `first`."""
    startup: Annotated[int, Ge(1)] = 3
    """median: number of trials that must have been at a rung before any is stopped there."""
    quantile: Annotated[float, Interval(gt=0, le=0.5)] = 0.25
    """pbt: share of the trials, the worst at a rung, that go on from one of as many best ones."""
    resample: Annotated[float, Interval(ge=0, le=1)] = 0.25
    """pbt: probability that a copied setting is drawn anew from the space instead of multiplied by 0.8 or 1.2."""

    @property
    def rungs(self) -> tuple[float, ...]:
        if self.kind == "none":
            return ()
        return tuple(self.first * self.time(rung) for rung in range(self.num_rungs))

    def time(self, rung: int) -> int:
        """Return how far a rung is, in units of the first; the one after the last rung is the end."""
        return rung + 1 if self.kind in ("none", "pbt") else self.eta**rung

    @property
    def compares_all(self) -> bool:
        """Return whether trials wait for others before it decides: they are proposed together."""
        return self.kind in ("hyperband", "pbt")


Ladder = PrunerConfig | TrialSchedulerConfig
"""Settings that hold the rungs of a search."""


@dataclass(frozen=True)
class InnerConfig:
    """The search for the best sampling of each proposed training; judged as the trainings are."""

    num_trials: Annotated[int, Interval(ge=1, le=10_000)]
    """Trials of each training."""
    space: dict[str, Any] = field(default_factory=dict)
    """Keys of `sampling` -> their distributions."""
    sampler: SamplerName = "tpe"
    """Optuna's sampler that proposes."""


def confirmed_name(part: str) -> str:
    """Return the name of the part in which the winners of a search are measured again."""
    return f"{part}.confirmed"


@dataclass(frozen=True)
class ConfirmConfig:
    """New seeds on which the best trials are trained and measured again: the best of many trials was lucky, too."""

    seeds: Annotated[tuple[Annotated[int, Interval(ge=0, lt=2**63)], ...], Len(1, 100)]
    """None of the sweep's."""
    num_trials: Annotated[int, Interval(ge=1, le=100)] = 3
    """Trials that are measured again, the best first."""


@dataclass(frozen=True)
class SearchConfig:
    """The plain part of `search:`."""

    objectives: dict[str, Direction]
    """One, or two for nsga2: metrics of the last evaluation, mean over seeds, or one of `COSTS`."""
    num_trials: Annotated[int, Interval(ge=1, le=10_000)]
    """Trials that are computed or known; proposals that break a rule do not count. A higher number goes on."""
    space: dict[str, Any] = field(default_factory=dict)
    """Key of a setting -> its distribution, see [search](searches.md)."""
    sampler: SamplerName = "tpe"
    """Optuna's sampler that proposes."""
    constraints: dict[str, LimitConfig] = field(default_factory=dict)
    """Metric, or one of `COSTS` -> the limit that a trial has to keep to."""
    searcher: str | None = None
    """Instead of `sampler`: a searcher of Ray Tune, or one that an installed package adds."""
    pruner: PrunerConfig = field(default_factory=PrunerConfig)
    trial_scheduler: TrialSchedulerConfig = field(default_factory=TrialSchedulerConfig)
    callbacks: tuple[str, ...] = ()
    """Callbacks of Ray Tune, or some that installed packages add; they change nothing of the search."""
    seed: Annotated[int, Interval(ge=0, le=2**32)] = 0
    """Seed of the proposals; the seeds of trainings are the sweep's."""
    population: Annotated[int, Interval(ge=2, le=10_000)] = 10
    """nsga2: trials of a generation."""
    confirm: ConfirmConfig | None = None
    """Once all trials ended, the best become a part of their own; no part of the search's identity."""
    inner: InnerConfig | None = None
    """A second level: `space` has keys of the training, and each training is worth what its best sampling is."""


@dataclass(frozen=True)
class SearchSpec:
    """A sound `search:`."""

    config: SearchConfig
    parameters: tuple[Parameter, ...]
    inner: SearchSpec | None = None

    @property
    def ladder(self) -> Ladder:
        """The settings that name its rungs: a search has a pruner or a trial scheduler, or neither."""
        return self.config.trial_scheduler if self.config.trial_scheduler.kind != "none" else self.config.pruner

    @property
    def proposer(self) -> str:
        """Name of the sampler or searcher that proposes."""
        return self.config.searcher or self.config.sampler

    @property
    def all_parameters(self) -> tuple[Parameter, ...]:
        """Parameters of both levels."""
        return (*self.parameters, *(self.inner.parameters if self.inner else ()))

    @property
    def num_wanted(self) -> int:
        """Highest number of rows that it can have, without refused proposals."""
        own = self.config.num_trials if self.config.sampler != "grid" else min(self.config.num_trials, self._points)
        return own * (self.inner.num_wanted if self.inner else 1)

    @property
    def directions(self) -> tuple[Direction, ...]:
        return tuple(self.config.objectives.values())

    def ordered(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return values by key in the order of the space, whatever their stored order: labels are made of them."""
        return {
            parameter.key: settings[parameter.key] for parameter in self.all_parameters if parameter.key in settings
        }

    def on_steps(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return values by key with those on a step as `Parameter.on_step` has them."""
        return {
            parameter.key: parameter.on_step(settings[parameter.key])
            for parameter in self.parameters
            if parameter.key in settings
        }

    @property
    def _points(self) -> int:
        """Number of points of a grid, conditions left aside."""
        return math.prod(len(parameter.points or ()) for parameter in self.parameters)
