"""Corners of a search's space: what its trials cost at most, and whether any trial can be valid at all."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from orchestration.common.errors import Problem, merge_duplicates
from orchestration.spec.search.rows import PartSearch
from orchestration.spec.search.space import Parameter
from orchestration.spec.search.trial import SearchTrial

MOST_CORNERS = 512
_MOST_SHOWN = 5


def corners(parameters: Sequence[Parameter]) -> tuple[list[dict[str, object]], bool]:
    """Return settings at the ends of all ranges and at all choices, and whether these are all of them."""
    by_text: dict[str, dict[str, object]] = {}
    products = itertools.product(*(parameter.ends for parameter in parameters))
    for values in itertools.islice(products, MOST_CORNERS):
        settings: Mapping[str, object] = {}
        for parameter, value in zip(parameters, values, strict=True):
            if parameter.is_read(settings):
                settings = {**settings, parameter.key: value}
        by_text[str(settings)] = dict(settings)
    return list(by_text.values()), math.prod(len(p.ends) for p in parameters) <= MOST_CORNERS


def never_valid(search: PartSearch) -> list[Problem]:
    """Return why no trial of a search can be valid; empty if one can, or if that is not certain.

    It is certain where all values are tried, and where every corner breaks the same rule in the same way.
    """
    settings, are_all = corners(search.spec.all_parameters)
    broken: list[list[Problem]] = []
    for own in settings:
        row, problems = search.row(SearchTrial(0, own, "complete"))
        if row is not None:
            return []
        broken.append([_without_label(search, own, problem) for problem in problems])
    everywhere = [problem for problem in broken[0] if all(problem in own for own in broken)]
    if not are_all or any(parameter.kind != "choice" for parameter in search.spec.all_parameters):
        return everywhere
    found = merge_duplicates(itertools.chain(everywhere, *broken))
    return found[:_MOST_SHOWN] if len(found) <= _MOST_SHOWN else [*found[:_MOST_SHOWN], *_rest(search, len(found))]


def _rest(search: PartSearch, num_found: int) -> Iterator[Problem]:
    yield Problem(f"{search.where}.space", f"no choice is valid: {num_found - _MOST_SHOWN} more break a rule")


def _without_label(search: PartSearch, settings: Mapping[str, object], problem: Problem) -> Problem:
    """Return a trial's problem as one of the space: a value of it is named where it is to blame, and no trial."""
    key = problem.where.removeprefix(f"{search.where}.space.")
    return replace(problem, whose=f"choice {json.dumps(settings[key])}" if key in settings else "")
