"""Rules that span the fields of a part's `search:`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from importlib.util import find_spec

from dfm_core.catalog.metrics import METRICS
from dfm_core.config.training import CHANGEABLE
from orchestration.common.errors import nearest
from orchestration.spec.search.pruning import bracket_sizes
from orchestration.spec.search.section import (
    CALLBACKS_GROUP,
    COSTS,
    MOST_TOGETHER,
    SEARCHERS_GROUP,
    TUNE_CALLBACKS,
    TUNE_SEARCHERS,
    PrunerConfig,
    SearchConfig,
    SearchSpec,
    TrialSchedulerConfig,
)

_LIMITED_SAMPLERS = ("tpe", "nsga2")
"""Samplers that heed a limit of a metric."""
_LEAST_POPULATION = 2
_BETTER = {"lower": "minimize", "higher": "maximize"}


def _level_rules(search: SearchSpec) -> Iterator[tuple[str, str]]:
    if search.inner is None:
        return
    for parameter in search.parameters:
        if parameter.key.startswith("sampling."):
            yield f"space.{parameter.key}", "is a setting of sampling: with `inner` it belongs to inner.space"
    if len(search.config.objectives) > 1:
        yield "objectives", "a search in two levels has one: a training is worth what its best sampling is"
    for key, kind in (("pruner", search.config.pruner.kind), ("trial_scheduler", search.config.trial_scheduler.kind)):
        if kind != "none":
            yield key, "cannot go with `inner`: trainings are compared by their best sampling, at the end"


def broken_search_rules(search: SearchSpec) -> Iterator[tuple[str, str]]:
    """Yield (key, message) for settings that do not fit together."""
    yield from _objective_rules(search)
    yield from _limit_rules(search)
    yield from sampler_rules(search)
    yield from _level_rules(search)
    yield from _pruner_rules(search.config.pruner)
    yield from _scheduler_rules(search.config)
    yield from _population_rules(search)
    yield from _ladder_rules(search)
    yield from _searcher_rules(search)
    for name in search.config.callbacks:
        yield from _named_rules("callbacks", name, TUNE_CALLBACKS, CALLBACKS_GROUP)


def _pruner_rules(pruner: PrunerConfig) -> Iterator[tuple[str, str]]:
    if pruner.kind == "none":
        if pruner.rungs:
            yield "pruner.rungs", "are given without a kind: median or asha"
        return
    shown = [f"{rung:g}" for rung in pruner.rungs]
    if not pruner.rungs or list(pruner.rungs) != sorted(set(pruner.rungs)):
        yield "pruner.rungs", f"[{', '.join(shown)}] must be {pruner.rungs_in} of training in ascending order"
    if pruner.rungs_in != "flops" and any(not rung.is_integer() for rung in pruner.rungs):
        yield "pruner.rungs", f"[{', '.join(shown)}] must be whole numbers of {pruner.rungs_in}"


def _scheduler_rules(config: SearchConfig) -> Iterator[tuple[str, str]]:
    scheduler = config.trial_scheduler
    if scheduler.kind == "none":
        if scheduler != TrialSchedulerConfig():
            yield "trial_scheduler", "is given without a kind: asha, hyperband, median or pbt"
        return
    if config.pruner.kind != "none":
        yield "trial_scheduler", "cannot go with `pruner`: both decide what is trained on; give one of them"
    compared = {"pbt": config.num_trials, "hyperband": min(config.num_trials, sum(bracket_sizes(scheduler)))}
    if (together := compared.get(scheduler.kind, 0)) > MOST_TOGETHER:
        how = "fewer num_trials" if scheduler.kind == "pbt" else "fewer num_rungs, or a smaller eta"
        yield (
            "trial_scheduler",
            f"{scheduler.kind} compares {together} trials as a whole, at most {MOST_TOGETHER}: give {how}",
        )
    if scheduler.first <= 0 or (scheduler.rungs_in != "flops" and not scheduler.first.is_integer()):
        yield "trial_scheduler.first", f"{scheduler.first:g} must be a number of {scheduler.rungs_in}, the first rung"


def _population_rules(search: SearchSpec) -> Iterator[tuple[str, str]]:
    """Yield the rules of population based training: its settings change while a training goes on."""
    if search.config.trial_scheduler.kind != "pbt":
        return
    allowed = [f"training.{name}" for name in CHANGEABLE]
    for parameter in search.parameters:
        if parameter.key not in allowed:
            message = "cannot change while a training goes on, as pbt has it; search it apart"
            yield f"space.{parameter.key}", f"{message}. Can change: {', '.join(allowed)}"
        elif parameter.when:
            yield f"space.{parameter.key}", "`when` cannot go with pbt: its settings change together"
        elif not all(isinstance(end, int | float) for end in parameter.ends):
            yield f"space.{parameter.key}", "a choice has to be among numbers"
    if search.config.num_trials < _LEAST_POPULATION:
        least = f"at least {_LEAST_POPULATION}: one goes on from another"
        yield "num_trials", f"{search.config.num_trials} are no population for pbt; give {least}"


def _ladder_rules(search: SearchSpec) -> Iterator[tuple[str, str]]:
    """Yield the rules of all that decides at rungs."""
    name = "pruner" if isinstance(search.ladder, PrunerConfig) else "trial_scheduler"
    if search.ladder.kind == "none":
        return
    if len(search.config.objectives) > 1:
        yield name, "needs a single objective"
    if any(objective in COSTS for objective in search.config.objectives):
        yield name, "needs a metric as its objective: costs do not change with training"
    if any(parameter.key == "training.steps" for parameter in search.parameters):
        yield name, "cannot go with training.steps in the space"


def _searcher_rules(search: SearchSpec) -> Iterator[tuple[str, str]]:
    searcher = search.config.searcher
    if searcher is None:
        return
    yield from _named_rules("searcher", searcher, TUNE_SEARCHERS, SEARCHERS_GROUP)
    for parameter in search.parameters:
        if parameter.when:
            yield f"space.{parameter.key}", f"`when` is for samplers: Ray Tune's {searcher} knows no conditions"
        if searcher == "bayesopt" and (parameter.kind != "uniform" or parameter.step is not None):
            yield f"space.{parameter.key}", "bayesopt takes `uniform` ranges without a step alone; hyperopt takes any"


def _named_rules(key: str, name: str, known: Mapping[str, str], group: str) -> Iterator[tuple[str, str]]:
    """Yield why a searcher or callback cannot be used. Args: known: name -> the module that it needs."""
    if name in known:
        if known[name] and find_spec(known[name]) is None:
            yield key, f"{name} needs the module {known[name]}, which is not installed (docs/searches.md)"
        return
    installed = sorted(point.name for point in entry_points(group=group))
    if name not in installed:
        every = [*known, *installed]
        allowed = f"known here: {', '.join(every)}; a package may add others as entry points of {group}"
        yield key, f"{name!r} is not known{nearest(name, every)}; {allowed}"


def _objective_rules(search: SearchSpec) -> Iterator[tuple[str, str]]:
    config = search.config
    wanted = (1, 2) if search.proposer == "nsga2" else (1,)
    if len(config.objectives) not in wanted:
        hint = "" if search.proposer == "nsga2" else "; two need `sampler: nsga2`"
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


def _limit_rules(search: SearchSpec) -> Iterator[tuple[str, str]]:
    for name, limit in search.config.constraints.items():
        if message := _unknown_value(name):
            yield f"constraints.{name}", message
        if limit.at_most is None and limit.at_least is None:
            yield f"constraints.{name}", "give at_most or at_least"
        if limit.at_most is not None and limit.at_least is not None and limit.at_least > limit.at_most:
            yield f"constraints.{name}", f"nothing is {limit}"
        if name not in COSTS and search.proposer not in _LIMITED_SAMPLERS:
            message = f"a metric's limit is heeded by {' and '.join(_LIMITED_SAMPLERS)} alone, not by {search.proposer}"
            yield f"constraints.{name}", message


def _unknown_value(name: str) -> str:
    known = [*METRICS, *COSTS]
    return "" if name in known else f"is neither a metric nor one of {', '.join(COSTS)}{nearest(name, known)}"


def sampler_rules(search: SearchSpec) -> Iterator[tuple[str, str]]:
    sampler = search.proposer
    if sampler == "grid":
        for parameter in search.parameters:
            if parameter.points is None:
                yield f"space.{parameter.key}", "a grid needs a choice, whole numbers, or a range with a step"
    if sampler == "cmaes":
        if any(parameter.kind == "choice" for parameter in search.parameters) or len(search.parameters) < 2:
            yield "sampler", "cmaes needs at least two parameters, all of them ranges of numbers; tpe takes any"
        if find_spec("cmaes") is None:
            yield "sampler", "cmaes needs the package of that name: install it from constraints.txt"
