"""Rules that span the fields of a part's `search:`."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from dfm_core.catalog.metrics import METRICS
from orchestration.common.errors import nearest
from orchestration.spec.search_section import COSTS, SearchConfig, SearchSpec

_LIMITED_SAMPLERS = ("tpe", "nsga2")
"""Samplers that heed a limit of a metric."""
_BETTER = {"lower": "minimize", "higher": "maximize"}


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


def broken_search_rules(search: SearchSpec) -> Iterator[tuple[str, str]]:
    """Yield (key, message) for settings that do not fit together."""
    yield from _objective_rules(search.config)
    yield from _limit_rules(search.config)
    yield from sampler_rules(search)
    yield from _level_rules(search)
    yield from _pruner_rules(search)


def _pruner_rules(search: SearchSpec) -> Iterator[tuple[str, str]]:
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
        if name not in COSTS and config.sampler not in _LIMITED_SAMPLERS:
            message = f"a metric's limit is heeded by {' and '.join(_LIMITED_SAMPLERS)} alone, not by {config.sampler}"
            yield f"constraints.{name}", message


def _unknown_value(name: str) -> str:
    known = [*METRICS, *COSTS]
    return "" if name in known else f"is neither a metric nor one of {', '.join(COSTS)}{nearest(name, known)}"


def sampler_rules(search: SearchSpec) -> Iterator[tuple[str, str]]:
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
