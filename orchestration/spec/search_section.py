"""A part's `search:`, read and checked: what is searched, by which values it is judged, and how it is proposed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from annotated_types import Ge, Interval, Len

from dfm_core.catalog.metrics import METRICS
from orchestration.common.errors import Problem, nearest
from orchestration.common.validation import validate
from orchestration.spec.search_space import Parameter, read_space

SamplerName = Literal["random", "grid", "tpe", "cmaes", "nsga2"]
Direction = Literal["minimize", "maximize"]
COSTS = ("sampling_flops", "num_evaluations")
"""What a trial costs to sample: known before anything of it is computed. FLOPs of all samples of an evaluation;
network evaluations of one."""
_HEEDING_LIMITS = ("tpe", "nsga2")
_BETTER = {"lower": "minimize", "higher": "maximize"}


@dataclass(frozen=True)
class LimitConfig:
    """What a trial has to keep to."""

    at_most: float | None = None
    at_least: float | None = None

    def excess(self, value: float) -> float:
        """By how much a value breaks it; 0 or less if it does not."""
        over = [] if self.at_most is None else [value - self.at_most]
        under = [] if self.at_least is None else [self.at_least - value]
        return max([*over, *under])

    def __str__(self) -> str:
        bounds = (("at least", self.at_least), ("at most", self.at_most))
        return " and ".join(f"{name} {bound:g}" for name, bound in bounds if bound is not None)


@dataclass(frozen=True)
class PrunerConfig:
    """Whether a trial is trained on after a rung, by what it scores there."""

    kind: Literal["none", "median", "asha"] = "none"
    """`median`: as long as it is no worse than the median of the others there. `asha`: if it is in the best 1/eta."""
    rungs: Annotated[tuple[Annotated[float, Interval(gt=0, le=1e30)], ...], Len(0, 20)] = ()
    """Ascending."""
    rungs_in: Literal["steps", "images", "flops"] = "steps"
    """What rungs count of a training; where steps of trials differ in cost, images or FLOPs compare like with like."""
    eta: Annotated[int, Interval(ge=2, le=100)] = 3
    startup: Annotated[int, Ge(1)] = 3
    """So many trials at a rung are always trained on: there is nothing yet to compare them with."""


@dataclass(frozen=True)
class InnerConfig:
    """How the snapshot of each training that is proposed is sampled; judged as the trainings are."""

    num_trials: Annotated[int, Interval(ge=1, le=10_000)]
    """Of each training."""
    space: dict[str, Any] = field(default_factory=dict)
    sampler: SamplerName = "tpe"


@dataclass(frozen=True)
class SearchConfig:
    """The plain part of `search:`."""

    objectives: dict[str, Direction]
    """One, or two for nsga2: metrics of the last evaluation, mean over seeds, or one of `COSTS`."""
    num_trials: Annotated[int, Interval(ge=1, le=10_000)]
    """Trials that are computed or known; proposals that break a rule do not count. A higher number goes on."""
    space: dict[str, Any] = field(default_factory=dict)
    sampler: SamplerName = "tpe"
    constraints: dict[str, LimitConfig] = field(default_factory=dict)
    pruner: PrunerConfig = field(default_factory=PrunerConfig)
    seed: Annotated[int, Interval(ge=0, le=2**32)] = 0
    """Of the proposals; the seeds of trainings are the sweep's."""
    population: Annotated[int, Interval(ge=2, le=10_000)] = 10
    """nsga2: trials of a generation."""
    inner: InnerConfig | None = None
    """A second level: `space` has keys of the training, and each training is worth what its best sampling is."""


@dataclass(frozen=True)
class SearchSpec:
    """A sound `search:`."""

    config: SearchConfig
    parameters: tuple[Parameter, ...]
    inner: SearchSpec | None = None

    @property
    def all_parameters(self) -> tuple[Parameter, ...]:
        """Of both levels."""
        return (*self.parameters, *(self.inner.parameters if self.inner else ()))

    @property
    def num_wanted(self) -> int:
        """Rows that it will have at the most, refused proposals left aside."""
        own = self.config.num_trials if self.config.sampler != "grid" else min(self.config.num_trials, self._points)
        return own * (self.inner.num_wanted if self.inner else 1)

    @property
    def directions(self) -> tuple[Direction, ...]:
        return tuple(self.config.objectives.values())

    def ordered(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Values by key, in the order of the space, whatever order they were kept in: labels are made of them."""
        return {
            parameter.key: settings[parameter.key] for parameter in self.all_parameters if parameter.key in settings
        }

    @property
    def _points(self) -> int:
        """Of a grid, conditions left aside."""
        return math.prod(len(parameter.points or ()) for parameter in self.parameters)


def read_search(given: Any, where: str) -> tuple[SearchSpec | None, list[Problem]]:
    """A search out of a sweep file, or everything that is wrong with it."""
    if not isinstance(given, Mapping):
        return None, [Problem(where, f"{given!r} must be a mapping with space, objectives and num_trials")]
    checked = validate(SearchConfig, given, lambda key: f"{where}.{key}")
    problems = list(checked.problems)
    space = given.get("space")
    if not isinstance(space, Mapping) or not space:
        return None, [*problems, Problem(f"{where}.space", "must be a mapping of at least one key to its values")]
    parameters, found = read_space(space, f"{where}.space")
    problems.extend(found)
    if checked.config is None or found:
        return None, problems
    inner, found = _read_inner(checked.config, given.get("inner"), f"{where}.inner")
    if found:
        return None, [*problems, *found]
    search = SearchSpec(checked.config, parameters, inner)
    problems.extend(Problem(f"{where}.{key}", message) for key, message in _broken_rules(search))
    return (None if problems else search), problems


def _read_inner(config: SearchConfig, given: Any, where: str) -> tuple[SearchSpec | None, list[Problem]]:
    if config.inner is None:
        return None, []
    space = given.get("space") if isinstance(given, Mapping) else None
    if not isinstance(space, Mapping) or not space:
        return None, [Problem(f"{where}.space", "must be a mapping of at least one key to its values")]
    parameters, problems = read_space(space, f"{where}.space")
    own = replace(
        config, num_trials=config.inner.num_trials, sampler=config.inner.sampler, pruner=PrunerConfig(), inner=None
    )
    search = SearchSpec(own, parameters)
    problems.extend(
        Problem(f"{where}.space.{parameter.key}", "is no setting of sampling: it belongs to the outer space")
        for parameter in parameters
        if not parameter.key.startswith("sampling.")
    )
    problems.extend(Problem(f"{where}.{key}", message) for key, message in _sampler_rules(search))
    if config.inner.sampler == "nsga2":
        problems.append(Problem(f"{where}.sampler", "nsga2 is for two objectives; a search in two levels has one"))
    return search, problems


def _level_rules(search: SearchSpec) -> Iterator[tuple[str, str]]:
    if search.inner is None:
        return
    for parameter in search.parameters:
        if parameter.key.startswith("sampling."):
            yield f"space.{parameter.key}", "is a setting of sampling: with `inner` it belongs to inner.space"
    if len(search.config.objectives) > 1:
        yield "objectives", "a search in two levels has one: a training is worth what its best sampling is"
    if search.config.pruner.kind != "none":
        yield "pruner", "cannot go with `inner`: trainings are compared by their best sampling, at the end"


def _broken_rules(search: SearchSpec) -> Iterator[tuple[str, str]]:
    """(key, message) of what does not fit together."""
    yield from _objective_rules(search.config)
    yield from _limit_rules(search.config)
    yield from _sampler_rules(search)
    yield from _level_rules(search)
    pruner = search.config.pruner
    if pruner.kind == "none":
        if pruner.rungs:
            yield "pruner.rungs", "are given without a kind: median or asha"
        return
    shown = [f"{rung:g}" for rung in pruner.rungs]
    if not pruner.rungs or list(pruner.rungs) != sorted(set(pruner.rungs)):
        yield "pruner.rungs", f"[{', '.join(shown)}] must be {pruner.rungs_in} of training in ascending order"
    if pruner.rungs_in != "flops" and any(not rung.is_integer() for rung in pruner.rungs):
        yield "pruner.rungs", f"[{', '.join(shown)}] must be whole numbers of {pruner.rungs_in}"
    if len(search.config.objectives) > 1:
        yield "pruner", "needs a single objective"
    if any(name in COSTS for name in search.config.objectives):
        yield "pruner", "needs a metric as its objective: costs do not change with training"
    if any(parameter.key == "training.steps" for parameter in search.parameters):
        yield "pruner", "cannot go with training.steps in the space"


def _objective_rules(config: SearchConfig) -> Iterator[tuple[str, str]]:
    wanted = (1, 2) if config.sampler == "nsga2" else (1,)
    if len(config.objectives) not in wanted:
        hint = "" if config.sampler == "nsga2" else "; two need `sampler: nsga2`"
        yield "objectives", f"{len(config.objectives)} objectives; {' or '.join(map(str, wanted))} can be given{hint}"
    if config.objectives and all(name in COSTS for name in config.objectives):
        yield "objectives", "one of them must be a metric"
    for name, direction in config.objectives.items():
        if message := _unknown_value(name):
            yield f"objectives.{name}", message
            continue
        better = "minimize" if name in COSTS else _BETTER[METRICS[name].better]  # type: ignore[index]  # a name is one
        if direction != better:
            yield f"objectives.{name}", f"{direction!r}: of this {better!r} is the better direction"


def _limit_rules(config: SearchConfig) -> Iterator[tuple[str, str]]:
    for name, limit in config.constraints.items():
        if message := _unknown_value(name):
            yield f"constraints.{name}", message
        if limit.at_most is None and limit.at_least is None:
            yield f"constraints.{name}", "give at_most or at_least"
        if limit.at_most is not None and limit.at_least is not None and limit.at_least > limit.at_most:
            yield f"constraints.{name}", f"nothing is {limit}"
        if name not in COSTS and config.sampler not in _HEEDING_LIMITS:
            message = f"a metric's limit is heeded by {' and '.join(_HEEDING_LIMITS)} alone, not by {config.sampler}"
            yield f"constraints.{name}", message


def _unknown_value(name: str) -> str:
    known = [*METRICS, *COSTS]
    return "" if name in known else f"is neither a metric nor one of {', '.join(COSTS)}{nearest(name, known)}"


def _sampler_rules(search: SearchSpec) -> Iterator[tuple[str, str]]:
    sampler = search.config.sampler
    if sampler == "grid":
        for parameter in search.parameters:
            if parameter.points is None:
                yield f"space.{parameter.key}", "a grid needs a choice, whole numbers, or a range with a step"
    if sampler == "cmaes":
        if any(parameter.kind == "choice" for parameter in search.parameters) or len(search.parameters) < 2:
            yield "sampler", "cmaes needs at least two parameters, all of them ranges of numbers; tpe takes any"
        if find_spec("cmaes") is None:
            yield "sampler", "cmaes needs the package of that name: install it from constraints.txt"
