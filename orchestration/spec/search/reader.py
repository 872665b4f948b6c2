"""A part's `search:` read into a `SearchSpec`, with every mistake in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_args

from orchestration.common.errors import Problem
from orchestration.parsing.validation import validate
from orchestration.spec.search.rules import broken_search_rules, sampler_rules
from orchestration.spec.search.section import TUNE_SEARCHERS, SchedulerKind, SearchConfig, SearchSpec
from orchestration.spec.search.space import read_space

_EMPTY_SPACE = "must be a mapping of at least one key to its values"


def read_search(given: Any, where: str) -> tuple[SearchSpec | None, list[Problem]]:
    """Return a sound search, or None and the mistakes in it."""
    if not isinstance(given, Mapping):
        return None, [Problem(where, f"{given!r} must be a mapping with space, objectives and num_trials")]
    config, mistakes = validate(SearchConfig, given, lambda key: f"{where}.{key}")
    problems = [_with_other_place(problem, given, where) for problem in mistakes]
    space = given.get("space")
    if not isinstance(space, Mapping) or not space:
        return None, [*problems, Problem(f"{where}.space", _EMPTY_SPACE)]
    parameters, space_problems = read_space(space, f"{where}.space")
    problems.extend(space_problems)
    if config is None or space_problems:
        return None, problems
    inner, inner_problems = _read_inner(config, given.get("inner"), f"{where}.inner")
    if inner_problems:
        return None, [*problems, *inner_problems]
    if config.searcher is not None and "sampler" in given:
        problems.append(Problem(f"{where}.searcher", "cannot go with `sampler`: both propose; give one of them"))
    search = SearchSpec(config, parameters, inner)
    problems.extend(Problem(f"{where}.{key}", message) for key, message in broken_search_rules(search))
    return (None if problems else search), problems


def _with_other_place(problem: Problem, given: Mapping[str, Any], where: str) -> Problem:
    """Return a mistake in a choice that another key takes with that key's name."""
    pruner = given.get("pruner")
    kind = pruner.get("kind") if isinstance(pruner, Mapping) else None
    if problem.where == f"{where}.pruner.kind" and kind in get_args(SchedulerKind):
        return replace(problem, message=f"{problem.message}; {kind} is a trial_scheduler.kind")
    sampler = given.get("sampler")
    if problem.where == f"{where}.sampler" and isinstance(sampler, str) and sampler in TUNE_SEARCHERS:
        return replace(problem, message=f"{problem.message}; {sampler} is a searcher of Ray Tune: give it as searcher")
    return problem


def _read_inner(config: SearchConfig, given: Any, where: str) -> tuple[SearchSpec | None, list[Problem]]:
    if config.inner is None:
        return None, []
    space = given.get("space") if isinstance(given, Mapping) else None
    if not isinstance(space, Mapping) or not space:
        return None, [Problem(f"{where}.space", _EMPTY_SPACE)]
    parameters, problems = read_space(space, f"{where}.space")
    own = SearchConfig(
        config.objectives,
        config.inner.num_trials,
        sampler=config.inner.sampler,
        constraints=config.constraints,
        seed=config.seed,
        population=config.population,
    )
    search = SearchSpec(own, parameters)
    problems.extend(
        Problem(f"{where}.space.{parameter.key}", "is no setting of sampling: it belongs to the outer space")
        for parameter in parameters
        if not parameter.key.startswith("sampling.")
    )
    problems.extend(Problem(f"{where}.{key}", message) for key, message in sampler_rules(search))
    if config.inner.sampler == "nsga2":
        problems.append(Problem(f"{where}.sampler", "nsga2 is for two objectives; a search in two levels has one"))
    return search, problems
